//! What became of the cases, by class and by how they came: `docs/wire.md`.

use std::fmt::Write as _;

use super::case::Level;

/// The classes, in the order of the page, and what each asks.
const CLASSES: &[(&str, &str)] = &[
    ("sanity", "the plain things work"),
    ("framing", "where a request ends: CL.TE, TE.CL, TE.TE, CL.0, 0.CL, Expect"),
    ("chunked", "chunks, extensions, trailers"),
    ("request line", "methods, target forms, versions, the one host"),
    ("headers", "names, values, line ends, folding"),
    ("hop-by-hop", "what is for the next hop stops here, both ways; what a client claims to be"),
    ("upstream", "answers that are damaged, interim, bodiless, or end in their middle"),
    ("h2 semantic", "one request, and the same one, out of pseudo-headers, fields and DATA"),
    ("h2 protocol", "frames, windows, HPACK"),
    ("h2 dos", "floods end the connection or cost nothing"),
    ("limits", "heads, targets and bodies have a length"),
    ("time-outs", "what does not come in time, from either side"),
    (
        "connection",
        "keeping, closing, pipelining, HTTP/1.0, kept connections that were closed meanwhile",
    ),
    ("body", "bodies of every length arrive whole, both ways"),
    ("upgrade", "a websocket and nothing else, once the upstream agreed"),
    ("tls", "certificates, protocols, hosts, and what is no handshake"),
    ("route", "the most specific route"),
    ("h2 upstream", "upstreams of HTTP/2 that are good, damaged or gone"),
];

/// How a case comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    H1,
    Tls,
    H2,
}

/// What became of the cases of a table that came one way.
#[derive(Debug)]
pub struct Score {
    class: &'static str,
    way: Way,
    must: Tally,
    should: Tally,
    pub failures: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    passed: usize,
    all: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.all += other.all;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.passed, self.all)
    }
}

impl Score {
    pub fn new(class: &'static str, way: Way) -> Self {
        let (must, should) = (Tally::default(), Tally::default());
        Self { class, way, must, should, failures: Vec::new() }
    }

    pub fn count(&mut self, level: Level, failure: Option<String>) {
        let tally = match level {
            Level::Must => &mut self.must,
            Level::Should => &mut self.should,
        };
        tally.add(Tally { passed: usize::from(failure.is_none()), all: 1 });
        self.failures.extend(failure);
    }
}

/// Must and should of those that are meant.
fn sum<'a>(scores: impl Iterator<Item = &'a Score>) -> (Tally, Tally) {
    scores.fold((Tally::default(), Tally::default()), |(mut must, mut should), score| {
        must.add(score.must);
        should.add(score.should);
        (must, should)
    })
}

/// The page. Every class has cases, and every case has a class.
pub fn page(scores: &[Score]) -> String {
    let mut page = String::from(
        "# The wire suite\n\nWhat clients and upstreams may send, and what must come of it: tables of bytes \
         in `tests/it/suite/tables/`, sent over real sockets to a whole proxy before a strict recording \
         backend. Written by the suite, which fails where a case does; `UPDATE_DOCS=1 cargo test \
         the_wire_suite` writes it anew.\n\n`must` is safety, integrity and basic function, `should` \
         strictness and niceties; passed of all, over plain HTTP/1.1, HTTP/1.1 by TLS and HTTP/2 by TLS.\n\n\
         | class | what it asks | H1 must · should | TLS must · should | H2 must · should |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let row = |page: &mut String, class: &str, about: &str, of: &dyn Fn(&&Score) -> bool| {
        write!(page, "| {class} | {about} ").unwrap();
        for way in [Way::H1, Way::Tls, Way::H2] {
            match sum(scores.iter().filter(of).filter(|score| score.way == way)) {
                (Tally { all: 0, .. }, Tally { all: 0, .. }) => page.push_str("| – "),
                (must, should) => write!(page, "| {must} · {should} ").unwrap(),
            }
        }
        page.push_str("|\n");
    };
    for (class, about) in CLASSES {
        assert!(scores.iter().any(|score| score.class == *class), "no case of {class}");
        row(&mut page, class, about, &|score| score.class == *class);
    }
    row(&mut page, "**all**", "", &|_| true);
    let stray = scores.iter().find(|score| CLASSES.iter().all(|(class, _)| *class != score.class));
    assert!(stray.is_none(), "{stray:?} is of no class");
    let (must, should) = sum(scores.iter());
    // A must weighs two.
    let points = |must: usize, should: usize| (2 * must + should) as f64;
    let score = 100.0 * points(must.passed, should.passed) / points(must.all, should.all);
    let cases = must.all + should.all;
    writeln!(
        page,
        "\n{cases} runs of cases: must {must}, should {should}. **Score: {score:.1}**, where a \
        must weighs two."
    )
    .unwrap();
    page
}
