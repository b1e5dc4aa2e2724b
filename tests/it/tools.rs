//! Other people's clients against the proxy: h2load, nghttp, curl, python's own and its h2. One that is not
//! installed is skipped aloud; where `CI` is set it must be there.

use std::process::{Command, Output};

use crate::rig::{Builder, Identity, Rig, says};

/// Whether a tool can be run. Says so when it cannot.
fn has(tool: &str) -> bool {
    first(tool, &[tool], &["--version"]).is_some()
}

/// The first of these programs that can be run so.
fn first<'a>(tool: &str, programs: &[&'a str], arguments: &[&str]) -> Option<&'a str> {
    let runs = |program: &&str| {
        let run = Command::new(program).args(arguments).output();
        run.is_ok_and(|run| run.status.success())
    };
    let found = programs.iter().copied().find(runs);
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "{tool} is not installed");
    if found.is_none() {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    found
}

/// Runs a tool off the runtime; its output if it ended well.
#[track_caller]
fn run(tool: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        tokio::task::block_in_place(|| Command::new(tool).args(arguments).output()).unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{tool} {arguments:?}: {status}\n{out}\n{err}");
    out.into_owned()
}

fn tls(builder: Builder) -> Builder {
    builder
        .identity("a", &Identity::of(&["a.test", "127.0.0.1"]))
        .listener("tls = { cert = \"a.pem\", key = \"a.key\" }")
}

async fn rigs() -> (Rig, Rig) {
    let plain = Rig::build().version("blue", says("blue")).start().await;
    let secure = tls(Rig::build().version("blue", says("blue"))).start().await;
    (plain, secure)
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_every_version() {
    if !has("curl") {
        return;
    }
    let (plain, secure) = rigs().await;
    let url = format!("http://{}/", plain.web);
    for options in [&["--http1.1"][..], &["--http1.0"], &["-d", "hello"], &["-T", "/dev/null"]] {
        let text =
            run("curl", &[&["-sS", "--fail", "-m", "10"], options, &[url.as_str()]].concat());
        assert_eq!(text, "blue", "{options:?}");
    }
    let url = format!("https://{}/", secure.web);
    for (options, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let ask = ["-sSk", "--fail", "-m", "10", "-w", " %{http_version}", options, &url];
        assert_eq!(run("curl", &ask), format!("blue {version}"));
    }
    plain.finish().await;
    secure.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2load_sees_no_failed_request() {
    if !has("h2load") {
        return;
    }
    let (plain, secure) = rigs().await;
    let (open, closed) = (format!("http://{}/", plain.web), format!("https://{}/", secure.web));
    for arguments in [&["--h1", &open][..], &["--h1", &closed], &["-m", "10", &closed]] {
        let text = run("h2load", &[&["-n", "300", "-c", "6"], arguments].concat());
        assert!(text.contains("300 succeeded, 0 failed, 0 errored"), "{arguments:?}: {text}");
        assert!(text.contains("status codes: 300 2xx"), "{arguments:?}: {text}");
    }
    plain.finish().await;
    secure.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nghttp_reads_a_whole_answer() {
    if !has("nghttp") {
        return;
    }
    let (plain, secure) = rigs().await;
    let text = run("nghttp", &["--no-verify-peer", &format!("https://{}/", secure.web)]);
    assert_eq!(text, "blue");
    plain.finish().await;
    secure.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_keeps_its_connection() {
    if !has("python3") {
        return;
    }
    let (plain, secure) = rigs().await;
    let program = "
import http.client, ssl, sys
context = ssl._create_unverified_context()
for connection in [http.client.HTTPConnection(sys.argv[1], timeout=10),
                   http.client.HTTPSConnection(sys.argv[2], timeout=10, context=context)]:
    for method, body in [('GET', None), ('POST', b'hello'), ('PUT', iter([b'he', b'llo'])), ('HEAD', None)]:
        connection.request(method, '/', body, encode_chunked=method == 'PUT',
                           headers={'Transfer-Encoding': 'chunked'} if method == 'PUT' else {})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, answer.status
        assert text == (b'' if method == 'HEAD' else b'blue'), text
print('good')
";
    let text = run("python3", &["-c", program, &plain.web.to_string(), &secure.web.to_string()]);
    assert_eq!(text, "good\n");
    plain.finish().await;
    secure.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_speaks_http_2() {
    // The system's packages are for the system's python, which need not be the first of the path.
    let pythons = ["python3", "/usr/bin/python3"];
    let Some(python) = first("python3's h2", &pythons, &["-c", "import h2"]) else { return };
    let (plain, secure) = rigs().await;
    // A library that checks what it is sent against the RFC.
    let program = "
import h2.connection, h2.events, socket, ssl, sys
host, port = sys.argv[1].split(':')
context = ssl._create_unverified_context()
context.set_alpn_protocols(['h2'])
plain = socket.create_connection((host, int(port)), timeout=10)
wire = context.wrap_socket(plain, server_hostname='a.test')
talk = h2.connection.H2Connection()
talk.initiate_connection()
wire.sendall(talk.data_to_send())
for method, body in [('GET', b''), ('POST', b'hello'), ('PUT', b'x' * 60000), ('HEAD', b'')]:
    stream = talk.get_next_available_stream_id()
    fields = [(':method', method), (':scheme', 'https'), (':authority', 'a.test'), (':path', '/')]
    talk.send_headers(stream, fields, end_stream=not body)
    for at in range(0, len(body), 16384):
        talk.send_data(stream, body[at:at + 16384], end_stream=at + 16384 >= len(body))
    text, status, ended = b'', None, False
    while not ended:
        wire.sendall(talk.data_to_send())
        for event in talk.receive_data(wire.recv(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                status = {bytes(name): bytes(value) for name, value in event.headers}[b':status']
            elif isinstance(event, h2.events.DataReceived):
                text += event.data
            elif isinstance(event, h2.events.StreamEnded):
                ended = True
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                sys.exit(f'{method}: {event}')
    assert status == b'200', status
    assert text == (b'' if method == 'HEAD' else b'blue'), text
print('good')
";
    assert_eq!(run(python, &["-c", program, &secure.web.to_string()]), "good\n");
    plain.finish().await;
    secure.finish().await;
}
