//! What stands before HTTP: PROXY headers, caps on connections, and which HTTP a client speaks.

use tokio::net::TcpStream;

use crate::rig::{Builder, Client, H2Client, Identity, Rig, connect_tls, says};

const TRUSTS_US: &str = "trusted_proxies = [\"127.0.0.0/8\"]";
const REFUSED: &str = "tidegate_connections_refused_total";

fn behind_a_proxy() -> Builder {
    Rig::build()
        .version("blue", says("blue"))
        .server(TRUSTS_US)
        .listener("proxy_protocol = true\nlimits.header_timeout = \"500ms\"")
}

async fn refused(rig: &Rig, reason: &str, count: f64) {
    let label = format!("reason=\"{reason}\"");
    rig.until(reason, || async { rig.metric(REFUSED, &[&label]).await == count }).await;
}

/// A connection on which nothing more comes, or it is reset.
async fn is_closed(mut client: Client) -> bool {
    client.rest().await.is_empty()
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxys_header_tells_who_the_client_is() {
    let rig = behind_a_proxy().start().await;
    let v4 = [192, 0, 2, 77, 127, 0, 0, 1, 4, 0, 0, 80];
    let cases = [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 1024 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1024 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(0x21, 0x11, &v4), "192.0.2.77"),
        (v2(0x20, 0x00, &[]), "127.0.0.1"),
    ];
    for (header, address) in cases {
        let mut client = rig.client().await;
        client.send(&header).await;
        assert_eq!(client.get("/").await.text(), "blue", "{address}");
        assert_eq!(client.get("/").await.text(), "blue", "{address}, kept alive");
        let seen = rig.version("blue").seen().pop().unwrap();
        assert!(seen.contains(&format!("x-forwarded-for: {address}\r\n")), "{seen}");
    }
    let mut together = rig.client().await;
    let all = b"PROXY TCP4 192.0.2.8 127.0.0.1 1 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    together.send(all).await;
    assert_eq!(together.answer("GET").await.text(), "blue");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_without_a_sound_header_is_closed_and_counted() {
    let rig = behind_a_proxy().start().await;
    let damaged: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 1024\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 1024 80\n",
    ];
    for bytes in damaged {
        let mut client = rig.client().await;
        client.send(bytes).await;
        assert!(is_closed(client).await, "{bytes:?}");
    }
    refused(&rig, "proxy_header", 4.0).await;
    let mut slow = rig.client().await;
    slow.send(b"PROXY TCP4").await;
    assert!(is_closed(slow).await);
    refused(&rig, "proxy_header_timeout", 1.0).await;
    assert_eq!(rig.version("blue").requests(), 0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_elses_header_is_believed() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .server("trusted_proxies = [\"192.0.2.0/24\"]")
        .listener("proxy_protocol = true")
        .start()
        .await;
    assert_eq!(rig.get("/").await.text(), "blue");
    let mut liar = rig.client().await;
    liar.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 1024 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(liar.answer("GET").await.status, 400);
    assert_eq!(rig.version("blue").requests(), 1);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_stands_before_tls() {
    use tokio::io::AsyncWriteExt;
    let identity = Identity::of(&["a.test"]);
    let rig = behind_a_proxy()
        .identity("a", &identity)
        .listener("tls = { cert = \"a.pem\", key = \"a.key\" }")
        .start()
        .await;
    let mut stream = TcpStream::connect(rig.web).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 1024 443\r\n").await.unwrap();
    let stream = identity.handshake(stream, "a.test").await;
    let mut client = Client::over(stream, "a.test");
    assert_eq!(client.get("/").await.text(), "blue");
    let seen = rig.version("blue").seen().pop().unwrap();
    assert!(seen.contains("x-forwarded-for: 192.0.2.7\r\n"), "{seen}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_told_by_a_header_of_its_own_for_each_client() {
    for version in ["v1", "v2"] {
        let inner = behind_a_proxy().start().await;
        let outer = behind_a_proxy()
            .at("next", inner.web)
            .weights("blue = 0, next = 100")
            .tables("[service.shop.version.next.health]\npath = \"/health\"")
            .each_version(&format!("proxy_protocol = \"{version}\""))
            .start()
            .await;
        for address in ["192.0.2.1", "192.0.2.2"] {
            let mut client = outer.client().await;
            client.send(format!("PROXY TCP4 {address} 127.0.0.1 9 80\r\n").as_bytes()).await;
            for _ in 0..2 {
                assert_eq!(client.get("/").await.text(), "blue");
                let seen = inner.version("blue").seen().pop().unwrap();
                let forwarded = format!("x-forwarded-for: {address}\r\n");
                assert!(seen.contains(&forwarded), "{version}: {seen}");
            }
        }
        outer.finish().await;
        inner.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_has_so_many_connections_and_the_others_have_theirs() {
    let rig = behind_a_proxy().listener("limits.max_connections_per_client = 2").start().await;
    let from = async |address: &str| {
        let mut client = rig.client().await;
        client.send(format!("PROXY TCP4 {address} 127.0.0.1 9 80\r\n").as_bytes()).await;
        client
    };
    let (mut one, mut two) = (from("192.0.2.1").await, from("192.0.2.1").await);
    assert_eq!(one.get("/").await.status, 200);
    assert_eq!(two.get("/").await.status, 200);
    assert!(is_closed(from("192.0.2.1").await).await);
    assert_eq!(from("192.0.2.2").await.get("/").await.status, 200);
    refused(&rig, "max_connections_per_client", 1.0).await;
    drop(one);
    rig.until("the place is free again", || async {
        let mut client = from("192.0.2.1").await;
        client.ask("GET", "/", "").await.is_some()
    })
    .await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_in_progress_are_bounded_and_what_fails_is_counted() {
    let identity = Identity::of(&["a.test"]);
    let rig = Rig::build()
        .version("blue", says("blue"))
        .identity("a", &identity)
        .listener("tls = { cert = \"a.pem\", key = \"a.key\" }\nlimits.max_handshakes = 1")
        .start()
        .await;
    let idle = rig.client().await;
    rig.until("the first is being served", || async {
        rig.metric("tidegate_connections", &[]).await == 1.0
    })
    .await;
    assert!(is_closed(rig.client().await).await);
    refused(&rig, "max_handshakes", 1.0).await;
    drop(idle);
    refused(&rig, "handshake", 1.0).await;
    let stream = connect_tls(rig.web, Some("a.test"), &[]).await;
    assert_eq!(Client::over(stream, "a.test").get("/").await.text(), "blue");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_of_a_listener_are_bounded() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .listener("limits.max_connections = 1")
        .start()
        .await;
    let mut first = rig.client().await;
    assert_eq!(first.get("/").await.status, 200);
    assert!(is_closed(rig.client().await).await);
    refused(&rig, "max_connections", 1.0).await;
    assert_eq!(first.get("/").await.status, 200);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_by_prior_knowledge_is_an_option() {
    let rig = Rig::build()
        .version("blue", says("blue"))
        .listener("h2c = true\nlimits.header_timeout = \"500ms\"")
        .start()
        .await;
    let stream = TcpStream::connect(rig.web).await.unwrap();
    let client = H2Client::over(stream, "a.test").await;
    assert_eq!(client.get("/").await.2, "blue");
    assert_eq!(rig.get("/").await.text(), "blue");
    let mut pieces = rig.client().await;
    // A method that begins as the preface does is still HTTP/1.
    for piece in [&b"PR"[..], b"I /x HTTP/1.1\r\nHost: a\r\n\r\n"] {
        pieces.send(piece).await;
    }
    assert_eq!(pieces.answer("PRI").await.status, 200);
    assert!(is_closed(rig.client().await).await);
    refused(&rig, "silent", 1.0).await;
    drop(client);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_ask_for_nothing_are_closed_and_counted() {
    let identity = Identity::of(&["a.test"]);
    for tls in [false, true] {
        let mut builder = Rig::build()
            .version("blue", says("blue"))
            .identity("a", &identity)
            .listener("limits.idle_timeout = \"200ms\"\nlimits.header_timeout = \"300ms\"");
        if tls {
            builder = builder.listener("tls = { cert = \"a.pem\", key = \"a.key\" }");
        }
        let rig = builder.start().await;
        if tls {
            let client =
                H2Client::over(connect_tls(rig.web, Some("a.test"), &[b"h2"]).await, "a.test");
            let client = client.await;
            assert_eq!(client.get("/").await.2, "blue");
            let silent = connect_tls(rig.web, Some("a.test"), &[b"h2"]).await;
            refused(&rig, "idle", 1.0).await;
            refused(&rig, "silent", 1.0).await;
            drop((client, silent));
        } else {
            let mut client = rig.client().await;
            assert_eq!(client.get("/").await.text(), "blue");
            assert!(is_closed(client).await);
            assert!(is_closed(rig.client().await).await);
            refused(&rig, "idle", 1.0).await;
            refused(&rig, "silent", 1.0).await;
        }
        rig.finish().await;
    }
}

/// The kernel holds a silent connection back for a while, and then tells of it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_late_is_served() {
    let rig = Rig::build().version("blue", says("blue")).start().await;
    let mut late = rig.client().await;
    rig.until("taken up", || async { rig.metric("tidegate_connections", &[]).await == 1.0 }).await;
    assert_eq!(late.get("/").await.text(), "blue");
    drop(late);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_told_by_forwarded_where_that_is_wanted() {
    let theirs = "for=192.0.2.60;proto=http;by=203.0.113.43";
    let ours = |host: &str| format!("for=127.0.0.1;host=\"{host}\";proto=http");
    let cases = [
        ("forwarded = true", "", true),
        ("forwarded = true\ntrusted_proxies = [\"127.0.0.0/8\"]", theirs, true),
        ("forwarded = false\ntrusted_proxies = [\"127.0.0.0/8\"]", theirs, false),
        ("forwarded = false", "", false),
    ];
    for (keys, passed, told) in cases {
        let rig = Rig::build().version("blue", says("blue")).server(keys).start().await;
        let ours = ours(&rig.web.to_string());
        let mut client = rig.client().await;
        client.get_with("/", &format!("Forwarded: {theirs}\r\n")).await;
        let seen = rig.version("blue").seen().pop().unwrap().to_ascii_lowercase();
        let found = seen.split("\r\n").find_map(|line| line.strip_prefix("forwarded: "));
        let expect = match (passed, told) {
            ("", true) => Some(ours),
            (passed, true) => Some(format!("{passed}, {ours}")),
            ("", false) => None,
            (passed, false) => Some(passed.to_owned()),
        };
        assert_eq!(found, expect.as_deref(), "{keys}");
        rig.finish().await;
    }
}
