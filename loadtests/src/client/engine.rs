//! The loop that drives all connections of a plan.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::connection::{Answer, Connection, Phase, Progress};
use super::{Command, Pace, Plan};
use crate::stats::{Observation, Stats};

const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
/// Bytes read at once; a whole answer of the 64 KiB workload fits.
const READ_BYTES: usize = 256 << 10;
/// How often broken connections are opened anew and deadlines looked at.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a stop waits for the answers under way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// The timer is not set finer than this: a wake-up costs more than it would gain.
const FINEST_TICK: Duration = Duration::from_micros(50);
/// Requests that may be due and unsent before further ones count as failed.
const BACKLOG_MOST: usize = 100_000;

/// The state of a running plan.
pub struct Engine {
    plan: Plan,
    inbox: Receiver<Command>,
    poll: Poll,
    ticker: Option<Ticker>,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    /// Instants at which requests were due that found no idle connection.
    backlog: VecDeque<Instant>,
    next_due: Instant,
    next_request: usize,
    busy: usize,
    last_sweep: Instant,
    stats: Stats,
    window_began: Instant,
    stopping: Option<(Instant, Sender<Stats>)>,
    buffer: Vec<u8>,
}

impl Engine {
    /// Prepares a plan; with it comes what wakes its loop.
    pub fn new(plan: Plan, inbox: Receiver<Command>) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let ticker = match plan.pace {
            Pace::Closed => None,
            Pace::Rate(rate) => Some(Ticker::new(rate, &poll)?),
        };
        let now = Instant::now();
        let mut stats = Stats::new(plan.versions.len());
        if plan.observe {
            stats.observations.reserve(1 << 20);
        }
        let engine = Engine {
            connections: (0..plan.connections).map(|_| Connection::new(now)).collect(),
            plan,
            inbox,
            poll,
            ticker,
            idle: Vec::new(),
            backlog: VecDeque::new(),
            next_due: now,
            next_request: 0,
            busy: 0,
            last_sweep: now,
            stats,
            window_began: now,
            stopping: None,
            buffer: vec![0; READ_BYTES],
        };
        Ok((engine, waker))
    }

    /// Runs until a stop is asked or nobody can ask any more.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        self.open_broken();
        loop {
            match self.poll.poll(&mut events, Some(PAUSE)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    TIMER => self.ticker.iter().for_each(Ticker::read),
                    Token(index) => self.advance(index, event.is_read_closed()),
                }
            }
            self.send_due()?;
            if self.last_sweep.elapsed() >= PAUSE {
                self.last_sweep = Instant::now();
                self.open_broken();
            }
            if !self.obey() || self.has_stopped() {
                return Ok(());
            }
        }
    }

    /// Answers what was asked; `false` when nobody is left to ask.
    fn obey(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                // An asker who has gone away needs no answer.
                Ok(Command::Cut(reply)) => {
                    let _ = reply.send(self.take_window());
                }
                Ok(Command::Stop(reply)) => self.stopping = Some((Instant::now(), reply)),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn has_stopped(&mut self) -> bool {
        let Some((since, _)) = &self.stopping else { return false };
        if self.busy > 0 && since.elapsed() < STOP_PATIENCE {
            return false;
        }
        for _ in 0..self.busy {
            self.stats.fail("no answer");
        }
        let window = self.take_window();
        if let Some((_, reply)) = self.stopping.take() {
            let _ = reply.send(window);
        }
        true
    }

    fn take_window(&mut self) -> Stats {
        let now = Instant::now();
        let fresh = Stats::new(self.plan.versions.len());
        let mut window = std::mem::replace(&mut self.stats, fresh);
        window.window = now - self.window_began;
        self.window_began = now;
        window
    }

    fn open_broken(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        for index in 0..self.connections.len() {
            if self.connections[index].phase == Phase::Broken {
                self.open(index);
            }
        }
    }

    fn open(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let trust = self.plan.trust.as_ref();
        match connection.open(self.plan.target, trust, Token(index), self.poll.registry()) {
            Ok(()) if self.plan.reconnect => self.wait_for_request(index),
            Ok(()) => {}
            Err(_) => self.stats.fail("connect"),
        }
    }

    /// With a connection a request, the request exists before its connection: latency includes opening.
    fn wait_for_request(&mut self, index: usize) {
        let due = match self.plan.pace {
            Pace::Closed => Instant::now(),
            Pace::Rate(_) => match self.backlog.pop_front() {
                Some(due) => due,
                None => return,
            },
        };
        let connection = &mut self.connections[index];
        connection.due = due;
        connection.waiting = true;
        self.busy += 1;
    }

    fn advance(&mut self, index: usize, read_closed: bool) {
        let connection = &mut self.connections[index];
        let progress = match connection.phase {
            Phase::Broken => return,
            Phase::Connecting => connection.settle(),
            _ => {
                let request = &self.plan.requests[connection.request];
                let versions = &self.plan.versions;
                connection.go_on(request, versions, &mut self.buffer, read_closed)
            }
        };
        self.conclude(index, progress);
    }

    fn conclude(&mut self, index: usize, progress: Progress) {
        match progress {
            Progress::Pending => {}
            Progress::Opened => {
                self.stats.opened += 1;
                if self.connections[index].waiting {
                    let due = self.connections[index].due;
                    self.busy -= 1;
                    self.begin(index, due);
                } else {
                    self.next(index);
                }
            }
            Progress::Answered(answer) => self.answered(index, answer),
            Progress::Failed(why) => self.failed(index, why),
            Progress::Closed => self.closed(index),
        }
    }

    fn answered(&mut self, index: usize, answer: Answer) {
        let now = Instant::now();
        let connection = &self.connections[index];
        if answer.status == 200 {
            self.stats.complete(answer.version, now - connection.due);
            if self.plan.observe {
                let (begun, version) = (connection.begun, answer.version);
                self.stats.observations.push(Observation { begun, ended: now, version });
            }
        } else {
            self.stats.fail(&format!("status {}", answer.status));
        }
        self.busy -= 1;
        match connection.phase {
            _ if connection.read_closed => self.closed(index),
            // With a connection a request the other side closes first, and keeps the wait state.
            Phase::Idle | Phase::Closing if self.plan.reconnect => {
                self.connections[index].phase = Phase::Closing;
            }
            Phase::Idle => self.next(index),
            // Announced, or an answer until close: the connection is gone either way.
            _ => self.closed(index),
        }
    }

    fn failed(&mut self, index: usize, why: &'static str) {
        let connection = &mut self.connections[index];
        if connection.phase == Phase::Busy || connection.waiting {
            self.busy -= 1;
        }
        connection.shut();
        self.stats.fail(why);
        self.idle.retain(|other| *other != index);
    }

    fn closed(&mut self, index: usize) {
        if !self.plan.reconnect {
            self.stats.closed += 1;
        }
        self.connections[index].shut();
        self.idle.retain(|other| *other != index);
        if self.stopping.is_none() {
            self.open(index);
        }
    }

    /// Finds work for an open connection without any.
    fn next(&mut self, index: usize) {
        if self.stopping.is_some() {
            return;
        }
        match self.plan.pace {
            Pace::Closed => self.begin(index, Instant::now()),
            Pace::Rate(_) => match self.backlog.pop_front() {
                Some(due) => self.begin(index, due),
                None => self.idle.push(index),
            },
        }
    }

    fn begin(&mut self, index: usize, due: Instant) {
        let request = self.next_request;
        self.next_request = (request + 1) % self.plan.requests.len();
        let connection = &mut self.connections[index];
        connection.request = request;
        connection.due = due;
        self.busy += 1;
        let progress = connection.begin(&self.plan.requests[request]);
        if progress != Progress::Pending {
            self.conclude(index, progress);
        }
    }

    /// Sends what is due at a fixed rate.
    fn send_due(&mut self) -> io::Result<()> {
        let Pace::Rate(rate) = self.plan.pace else { return Ok(()) };
        if self.stopping.is_some() {
            return Ok(());
        }
        let interval = Duration::from_secs(1) / rate;
        let now = Instant::now();
        while self.next_due <= now {
            let due = self.next_due;
            self.next_due += interval;
            match self.idle.pop() {
                Some(index) => self.begin(index, due),
                None if self.backlog.len() < BACKLOG_MOST => self.backlog.push_back(due),
                None => self.stats.fail("not sent in time"),
            }
        }
        match &mut self.ticker {
            // Without an idle connection nothing can be sent, and answers wake the loop themselves.
            Some(ticker) => ticker.run(!self.idle.is_empty()),
            None => Ok(()),
        }
    }
}

/// A timer that wakes the loop as often as requests are due.
struct Ticker {
    timer: OwnedFd,
    tick: Duration,
    runs: bool,
}

impl Ticker {
    /// A stopped one.
    fn new(rate: u32, poll: &Poll) -> io::Result<Self> {
        if rate == 0 {
            return Err(io::Error::other("a rate of 0 sends nothing"));
        }
        let tick = (Duration::from_secs(1) / rate).max(FINEST_TICK);
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let mut source = SourceFd(&timer.as_raw_fd());
        poll.registry().register(&mut source, TIMER, Interest::READABLE)?;
        Ok(Ticker { timer, tick, runs: false })
    }

    /// Lets it run, or stops it.
    fn run(&mut self, runs: bool) -> io::Result<()> {
        if self.runs == runs {
            return Ok(());
        }
        let tick = if runs { self.tick } else { Duration::ZERO };
        let time =
            Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: i64::from(tick.subsec_nanos()) };
        let times = Itimerspec { it_interval: time, it_value: time };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
        self.runs = runs;
        Ok(())
    }

    /// Only the wake-up matters: what is due is reckoned from the clock.
    fn read(&self) {
        let _ = rustix::io::read(&self.timer, &mut [0u8; 8]);
    }
}
