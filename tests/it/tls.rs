//! TLS on both sides: which certificate is shown, what is agreed on, and what is refused.

use rustls::HandshakeKind;
use tokio::net::TcpStream;

use crate::rig::{Answer, Authority, Builder, Client, Identity, Rig, Visitor, connect_tls, says};

const TWO_CERTS: &str = "tls = { certs = [{ cert = \"a.pem\", key = \"a.key\" }, \
                         { cert = \"b.pem\", key = \"b.key\" }] }";

fn two_certs(a: &Identity, b: &Identity) -> Builder {
    Rig::build().version("blue", says("blue")).identity("a", a).identity("b", b).listener(TWO_CERTS)
}

async fn shows(rig: &Rig, name: Option<&str>, identity: &Identity) -> bool {
    identity.is_shown(&connect_tls(rig.web, name, &[]).await)
}

fn replace(rig: &Rig, name: &str, text: &str) {
    let next = rig.place.path().join("next.tmp");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(&next, rig.place.path().join(name)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_asked_for_chooses_the_certificate_and_the_first_is_for_the_rest() {
    let (a, b) = (Identity::of(&["a.test", "*.wild.test"]), Identity::of(&["b.test"]));
    let rig = two_certs(&a, &b).start().await;
    let cases = [
        (Some("a.test"), &a),
        (Some("b.test"), &b),
        (Some("B.Test"), &b),
        (Some("x.wild.test"), &a),
        (Some("other.test"), &a),
        (None, &a),
    ];
    for (name, expect) in cases {
        let stream = connect_tls(rig.web, name, &[]).await;
        assert!(expect.is_shown(&stream), "{name:?}");
        let mut client = Client::over(stream, name.unwrap_or("a.test"));
        assert_eq!(client.get("/").await.text(), "blue", "{name:?}");
        assert_eq!(client.get("/").await.text(), "blue", "{name:?}, kept alive");
    }
    let seen = rig.version("blue").seen().join("");
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_with_those_who_offer_it() {
    let a = Identity::of(&["a.test"]);
    let rig = two_certs(&a, &a).start().await;
    let cases = [
        (vec!["h2", "http/1.1"], Some("h2")),
        (vec!["http/1.1", "h2"], Some("h2")),
        (vec!["http/1.1"], Some("http/1.1")),
        (vec![], None),
    ];
    for (offered, expect) in cases {
        let offered: Vec<_> = offered.into_iter().map(str::as_bytes).collect();
        let expect = expect.map(str::as_bytes);
        let stream = connect_tls(rig.web, Some("a.test"), &offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), expect, "{offered:?}");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_read_ahead_is_answered() {
    let a = Identity::of(&["a.test"]);
    let rig = two_certs(&a, &a).start().await;
    // Requests that end where records and buffers end, and some that do not.
    for (length, count) in [(64, 2000), (63, 500), (1000, 70)] {
        let path = "/".repeat(length - "GET  HTTP/1.1\r\nHost: a.test\r\n\r\n".len());
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(request.len(), length);
        let stream = connect_tls(rig.web, Some("a.test"), &[]).await;
        let mut client = Client::over(stream, "a.test");
        client.send(request.repeat(count).as_bytes()).await;
        for place in 0..count {
            assert_eq!(client.answer("GET").await.status, 200, "{place} of {length} bytes");
        }
    }
    rig.finish().await;
}

async fn get(client: &mut Client, host: &str) -> Answer {
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
    client.answer("GET").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let (a, b) = (Identity::of(&["a.test", "*.wild.test"]), Identity::of(&["b.test"]));
    let rig = two_certs(&a, &b).start().await;
    let cases = [
        (Some("a.test"), "a.test", 200),
        (Some("a.test"), "A.test.:443", 200),
        (Some("a.test"), "x.wild.test", 200),
        (Some("a.test"), "b.test", 421),
        (Some("a.test"), "127.0.0.1", 421),
        (Some("b.test"), "a.test", 421),
        // Nobody else has its certificate: the first stands in, and the names agree.
        (Some("other.test"), "other.test", 200),
        (Some("other.test"), "a.test", 200),
        (Some("other.test"), "b.test", 421),
        // Without a name the client has not said what it expects.
        (None, "b.test", 200),
    ];
    for (name, host, status) in cases {
        let mut client = Client::over(connect_tls(rig.web, name, &[]).await, host);
        let answer = get(&mut client, host).await;
        assert_eq!(answer.status, status, "{name:?} {host}");
        if status == 421 {
            assert_eq!(answer.json()["type"], "urn:tidegate:reason:misdirected");
            let again = get(&mut client, name.unwrap()).await;
            assert_eq!(again.status, 200, "{name:?}: the connection goes on");
        }
    }
    let counted = rig.metric("tidegate_local_replies_total", &["misdirected"]).await;
    assert_eq!(counted, 4.0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_certificates_are_shown_and_open_connections_live_on() {
    let (a, b) = (Identity::of(&["a.test"]), Identity::of(&["b.test"]));
    let rig = two_certs(&a, &b).start().await;
    let mut open = Client::over(connect_tls(rig.web, Some("a.test"), &[]).await, "a.test");
    assert_eq!(open.get("/").await.status, 200);
    let next = Identity::of(&["a.test"]);
    // In between the key does not fit the certificate: the old pair stays.
    replace(&rig, "a.pem", &next.cert);
    replace(&rig, "a.key", &next.key);
    rig.until("the new certificate is shown", || shows(&rig, Some("a.test"), &next)).await;
    assert_eq!(open.get("/").await.text(), "blue");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_certificate_keeps_the_old_one() {
    let (a, b) = (Identity::of(&["a.test"]), Identity::of(&["b.test"]));
    let rig = two_certs(&a, &b).start().await;
    let next = Identity::of(&["b.test"]);
    replace(&rig, "a.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n");
    replace(&rig, "b.key", &next.key);
    replace(&rig, "b.pem", &next.cert);
    rig.until("the sound one is shown", || shows(&rig, Some("b.test"), &next)).await;
    assert!(shows(&rig, Some("a.test"), &a).await);
    let mended = Identity::of(&["a.test"]);
    replace(&rig, "a.key", &mended.key);
    replace(&rig, "a.pem", &mended.cert);
    rig.until("the mended one is shown", || shows(&rig, Some("a.test"), &mended)).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_certificate_is_verified() {
    let (up, stranger) = (Identity::of(&["up.test"]), Identity::of(&["up.test"]));
    let cases = [
        ("trusted", "tls = { ca = \"up.pem\", server_name = \"up.test\" }", 200),
        ("of a stranger", "tls = { ca = \"stranger.pem\", server_name = \"up.test\" }", 502),
        ("for another name", "tls = { ca = \"up.pem\", server_name = \"down.test\" }", 502),
        ("for a name, not the address", "tls = { ca = \"up.pem\" }", 502),
    ];
    for (what, keys, status) in cases {
        let rig = Rig::build()
            .version("blue", says("blue").over_tls(up.server(&[b"http/1.1"])))
            .each_version(&format!("protocol = \"https\"\n{keys}"))
            .service("retries = { attempts = 0 }")
            .identity("up", &up)
            .identity("stranger", &stranger)
            .start()
            .await;
        let answer = rig.get("/").await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        if status == 502 {
            assert_eq!(answer.json()["type"], "urn:tidegate:reason:upstream_unreachable");
            let port = rig.version("blue").address.port().to_string();
            for leak in [&port, "certificate", "up.test", "Issuer"] {
                assert!(!answer.text().contains(leak), "{what}: {}", answer.text());
            }
            assert_eq!(rig.version("blue").requests(), 0, "{what}");
        }
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_shakes_no_hands_is_closed() {
    let a = Identity::of(&["a.test"]);
    let rig = two_certs(&a, &a).listener("limits.handshake_timeout = \"100ms\"").start().await;
    for first in [&b""[..], b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let stream = TcpStream::connect(rig.web).await.unwrap();
        let mut client = Client::over(stream, "a.test");
        client.send(first).await;
        let rest = client.rest().await;
        assert!(!rest.starts_with(b"HTTP/"), "{first:?}: {rest:?}");
    }
    rig.until("no connection is left", || async {
        rig.metric("tidegate_connections", &[]).await == 0.0
    })
    .await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_certificate_does_not_take_the_others_down() {
    let (a, b) = (Identity::of(&["a.test"]), Identity::of(&["b.test"]));
    let rig = two_certs(&a, &b).file("a.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n");
    let rig = rig.start().await;
    assert!(shows(&rig, Some("b.test"), &b).await);
    assert!(shows(&rig, Some("a.test"), &b).await, "what is left stands in");
    replace(&rig, "a.pem", &a.cert);
    rig.until("the mended one is shown", || shows(&rig, Some("a.test"), &a)).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_listener_takes_no_host_but_the_one_of_the_handshake() {
    let a = Identity::of(&["a.test", "b.test"]);
    let strict = "tls = { cert = \"a.pem\", key = \"a.key\", strict_host = true }";
    let rig = Rig::build().version("blue", says("blue")).identity("a", &a).listener(strict);
    let rig = rig.start().await;
    let cases = [
        (Some("a.test"), "a.test", 200),
        (Some("a.test"), "A.test.:443", 200),
        (Some("a.test"), "b.test", 421),
        (Some("b.test"), "b.test", 200),
        (None, "a.test", 421),
    ];
    for (name, host, status) in cases {
        let mut client = Client::over(connect_tls(rig.web, name, &[]).await, host);
        assert_eq!(get(&mut client, host).await.status, status, "{name:?} {host}");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ocsp_response_is_stapled_and_read_again() {
    let a = Identity::of(&["a.test"]);
    let keys = "tls = { cert = \"a.pem\", key = \"a.key\", ocsp = \"a.ocsp\" }";
    let rig = Rig::build().version("blue", says("blue")).identity("a", &a).listener(keys);
    let rig = rig.file("a.ocsp", "0 the first").start().await;
    let stapled = async || {
        let visitor = Visitor::new(None);
        visitor.connect(rig.web, "a.test").await.unwrap();
        visitor.stapled()
    };
    assert_eq!(stapled().await, b"0 the first");
    replace(&rig, "a.ocsp", "0 the second");
    rig.until("the second is stapled", async || stapled().await == b"0 the second").await;
    replace(&rig, "a.ocsp", "no response");
    rig.until("nothing is stapled", async || stapled().await.is_empty()).await;
    rig.finish().await;
}

/// A listener that asks its clients for a certificate that leads to this root.
fn asks(keys: &str, root: &str) -> Builder {
    let clients = format!("clients = {{ ca = \"client.pem\", {keys} }}");
    Rig::build()
        .version("blue", says("blue"))
        .identity("a", &Identity::of(&["a.test"]))
        .file("client.pem", root)
        .listener(&format!("tls = {{ cert = \"a.pem\", key = \"a.key\", {clients} }}"))
}

/// The status of a request of this visitor, if it gets one.
async fn visits(rig: &Rig, visitor: &Visitor, field: &str) -> Option<u16> {
    let mut client = Client::over(visitor.connect(rig.web, "a.test").await.ok()?, "a.test");
    let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{field}\r\n");
    // With TLS 1.3 a client learns of its refusal only when it reads.
    client.send(head.as_bytes()).await;
    client.try_answer("GET").await.map(|answer| answer.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_certificate_is_verified_and_told_upstream() {
    let (known, stranger) = (Identity::of(&["till.test"]), Identity::of(&["till.test"]));
    let forged = "X-Forwarded-Client-Cert: Hash=00;Subject=\"CN=admin\"\r\n";
    let cases = [
        ("required", Some(&known), Some(200), true),
        ("required", Some(&stranger), None, false),
        ("required", None, None, false),
        ("optional", Some(&known), Some(200), true),
        ("optional", Some(&stranger), None, false),
        ("optional", None, Some(200), false),
    ];
    for (mode, shown, status, told) in cases {
        let rig = asks(&format!("mode = \"{mode}\""), &known.cert).start().await;
        let found = visits(&rig, &Visitor::new(shown), forged).await;
        assert_eq!(found, status, "{mode} {}", shown.is_some());
        let seen = rig.version("blue").seen().join("");
        assert!(!seen.contains("CN=admin"), "{mode}: nobody else tells: {seen}");
        assert_eq!(seen.contains("x-forwarded-client-cert: Hash="), told, "{mode}: {seen}");
        assert_eq!(seen.contains(";DNS=\"till.test\"\r\n"), told, "{mode}: {seen}");
        if status.is_none() {
            rig.until("it is counted", async || {
                rig.metric("tidegate_connections_refused_total", &["\"handshake\""]).await == 1.0
            })
            .await;
        }
        rig.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_with_who_the_client_is_until_others_are_trusted() {
    let (known, next) = (Identity::of(&["till.test"]), Identity::of(&["till.test"]));
    let rig = asks("mode = \"required\"", &known.cert).start().await;
    let visitor = Visitor::new(Some(&known));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let stream = visitor.connect(rig.web, "a.test").await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
        let mut client = Client::over(stream, "a.test");
        assert_eq!(get(&mut client, "a.test").await.status, 200);
        let seen = rig.version("blue").seen().pop().unwrap();
        assert!(seen.contains(";DNS=\"till.test\""), "{kind:?}: {seen}");
    }
    replace(&rig, "client.pem", &next.cert);
    let other = Visitor::new(Some(&next));
    rig.until("the other is let in", async || visits(&rig, &other, "").await == Some(200)).await;
    assert_eq!(visits(&rig, &visitor, "").await, None, "its session is worth nothing now");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_is_let_in_no_more() {
    let authority = Authority::new();
    let visitors = [7, 8].map(|number| Visitor::new(Some(&authority.issue(number, "till.test"))));
    let rig = asks("crl = \"revoked.pem\"", &authority.cert);
    let rig = rig.file("revoked.pem", &authority.revokes(&[], false)).start().await;
    let let_in = async || {
        let [seven, eight] = &visitors;
        [visits(&rig, seven, "").await.is_some(), visits(&rig, eight, "").await.is_some()]
    };
    assert_eq!(let_in().await, [true, true]);
    replace(&rig, "revoked.pem", &authority.revokes(&[7], false));
    // Its session is worth nothing either.
    rig.until("seven is refused", async || let_in().await == [false, true]).await;
    // What cannot be read changes nothing; a list that is late names whom it names.
    replace(&rig, "revoked.pem", "no list");
    assert_eq!(let_in().await, [false, true]);
    replace(&rig, "revoked.pem", &authority.revokes(&[8], true));
    rig.until("eight is refused", async || let_in().await == [true, false]).await;
    // Of another's clients nothing is known.
    replace(&rig, "revoked.pem", &Authority::new().revokes(&[], false));
    rig.until("nobody is let in", async || let_in().await == [false, false]).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_asks_who_we_are_is_shown_our_certificate() {
    let (up, us) = (Identity::of(&["up.test"]), Identity::of(&["us.test"]));
    let own = "cert = \"us.pem\", key = \"us.key\", ";
    for (keys, status) in [(own, 200), ("", 502)] {
        let tls = format!("tls = {{ {keys}ca = \"up.pem\", server_name = \"up.test\" }}");
        let rig = Rig::build()
            .version("blue", says("blue").over_tls(up.server_for(&us)))
            .each_version(&format!("protocol = \"https\"\n{tls}"))
            .service("retries = { attempts = 0 }")
            .identity("up", &up)
            .identity("us", &us)
            .start()
            .await;
        assert_eq!(rig.get("/").await.status, status, "{keys}");
        rig.finish().await;
    }
}
