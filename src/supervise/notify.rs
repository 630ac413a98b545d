//! What the service manager is told, as of sd_notify(3): what we are at, that waiting takes its time,
//! and, where that was asked for, that the service is up.
//!
//! A message is one datagram. The crate for it (sd-notify 0.5) knows no abstract addresses, and would
//! block while the manager does not read. Here a message that cannot be sent now is lost, and `READY=1`
//! after a second: no job depends on it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::cli::args::Notify;

/// The variable with the manager's address.
pub const SOCKET: &str = "NOTIFY_SOCKET";

/// By how much a wait that goes on puts off the manager's time limit, counted from now. Longer than
/// anybody sleeps who waits for a machine (a minute), and than what most give a service to start.
const EXTENSION: Duration = Duration::from_secs(180);

/// What was said is not said again before this time.
const AGAIN: Duration = Duration::from_secs(30);

/// How long a manager that does not read is waited for, where it matters.
const PATIENCE: Duration = Duration::from_secs(1);

/// In characters, of up to four bytes: systemd ignores messages of more than 4096 bytes.
const MAX_STATUS: usize = 900;

/// Tells the service manager, if there is one that listens to us.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    address: Option<SocketAddr>,
    ready: bool,
    /// What we wait for, and when we said so, if anybody could take it.
    waits: Option<(String, Option<Instant>)>,
}

impl Notifier {
    /// The manager that the environment names. Without `notify` only when it was the manager that
    /// started us: what somebody deep in a service does is not the service's status.
    pub fn new(notify: Option<Notify>) -> Self {
        let ready = notify == Some(Notify::Ready);
        let main = std::env::var("SYSTEMD_EXEC_PID");
        let is_main = main.map_or(true, |pid| pid == std::process::id().to_string());
        let socket = std::env::var_os(SOCKET).filter(|_| ready || is_main);
        Self { address: socket.and_then(|socket| address(&socket)), ready, waits: None }
    }

    /// We go on waiting.
    pub fn waits(&mut self, what_for: &str) {
        let fresh = |(text, said): &(String, Option<Instant>)| {
            text == what_for && said.is_some_and(|when| when.elapsed() < AGAIN)
        };
        if self.address.is_none() || self.waits.as_ref().is_some_and(fresh) {
            return;
        }
        let said = self.say(&[status(&format!("waiting: {what_for}")), extension()]);
        self.waits = Some((what_for.to_owned(), said.then(Instant::now)));
    }

    /// The job is about to begin.
    pub fn begins(&mut self, status_text: &str) {
        let status = status(status_text);
        match self.waits.take() {
            None => self.say(&[status]),
            // What the job itself needs to start is not to be less than without the wait.
            Some(_) => self.say(&[status, extension()]),
        };
    }

    /// Whether somebody waits for word that the job has begun.
    pub fn says_ready(&self) -> bool {
        self.ready && self.address.is_some()
    }

    /// The job has begun.
    pub fn has_begun(&self) {
        if self.says_ready() {
            // A start that is never said to be over fails: this one is worth a moment.
            self.say_within(PATIENCE, &["READY=1".to_owned()]);
        }
    }

    /// Whether it was taken. If not, nobody may be listening, or nobody reads; the job runs all the same.
    fn say(&self, lines: &[String]) -> bool {
        self.say_within(Duration::ZERO, lines)
    }

    fn say_within(&self, patience: Duration, lines: &[String]) -> bool {
        let Some(address) = &self.address else { return false };
        let send = || -> io::Result<usize> {
            let socket = UnixDatagram::unbound()?;
            match patience {
                Duration::ZERO => socket.set_nonblocking(true)?,
                patience => socket.set_write_timeout(Some(patience))?,
            }
            socket.send_to_addr(lines.join("\n").as_bytes(), address)
        };
        send().is_ok()
    }
}

/// `@` begins an abstract address. Others than Unix sockets (`vsock:`) are not for us.
fn address(socket: &OsStr) -> Option<SocketAddr> {
    match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(socket).ok(),
        _ => None,
    }
}

fn extension() -> String {
    format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros())
}

fn status(text: &str) -> String {
    let clipped: String = text.chars().filter(|c| *c != '\n').take(MAX_STATUS).collect();
    format!("STATUS={clipped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager at an address of this test, and somebody who talks to it.
    fn listener(name: &str) -> (UnixDatagram, Notifier) {
        let name = format!("@jobguard-{}-{name}", std::process::id());
        let address = address(OsStr::new(&name)).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        (listener, Notifier { address: Some(address), ..Notifier::default() })
    }

    fn heard(listener: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 8192];
        let length = listener.recv(&mut bytes).ok()?;
        Some(std::str::from_utf8(&bytes[..length]).unwrap().to_owned())
    }

    #[test]
    fn a_wait_is_told_once_and_put_off_again_and_again() {
        const EXTEND: &str = "\nEXTEND_TIMEOUT_USEC=180000000";
        let (listener, mut notifier) = listener("wait");
        notifier.waits("a");
        assert_eq!(heard(&listener), Some(format!("STATUS=waiting: a{EXTEND}")));
        notifier.waits("a");
        assert_eq!(heard(&listener), None);
        notifier.waits("b");
        assert_eq!(heard(&listener), Some(format!("STATUS=waiting: b{EXTEND}")));
        notifier.waits = Some(("b".to_owned(), Instant::now().checked_sub(AGAIN)));
        notifier.waits("b");
        assert_eq!(heard(&listener), Some(format!("STATUS=waiting: b{EXTEND}")));
        notifier.begins("running");
        assert_eq!(heard(&listener), Some(format!("STATUS=running{EXTEND}")));
        notifier.has_begun();
        assert_eq!(heard(&listener), None);
    }

    #[test]
    fn what_was_lost_is_said_again() {
        let (listener, mut notifier) = listener("lost");
        while notifier.say(&["filler".to_owned()]) {}
        notifier.waits("a");
        while heard(&listener).is_some_and(|message| message == "filler") {}
        assert_eq!(heard(&listener), None, "the buffer was full");
        notifier.waits("a");
        assert!(heard(&listener).unwrap().starts_with("STATUS=waiting: a\n"));
        notifier.waits("a");
        assert_eq!(heard(&listener), None);
        // Whoever was told nothing of the wait has it put off all the same.
        while notifier.say(&["filler".to_owned()]) {}
        notifier.waits("b");
        while heard(&listener).is_some() {}
        notifier.begins("running");
        assert!(heard(&listener).unwrap().ends_with("\nEXTEND_TIMEOUT_USEC=180000000"));
    }

    #[test]
    fn without_a_wait_nothing_is_put_off() {
        let (listener, mut notifier) = listener("no-wait");
        notifier.ready = true;
        notifier.begins("running");
        notifier.has_begun();
        assert_eq!(heard(&listener).as_deref(), Some("STATUS=running"));
        assert_eq!(heard(&listener).as_deref(), Some("READY=1"));
        assert_eq!(heard(&listener), None);
    }

    #[test]
    fn a_status_is_one_short_line() {
        let (listener, mut notifier) = listener("long");
        notifier.begins(&format!("a\nREADY=1{}", "\u{1f512}".repeat(5000)));
        let message = heard(&listener).unwrap();
        assert!(message.starts_with("STATUS=aREADY=1\u{1f512}"), "{message}");
        assert!(message.len() < 4096 && !message.contains('\n'));
    }

    #[rstest::rstest]
    #[case::path("/run/notify", true)]
    #[case::abstract_name("@notify", true)]
    #[case::other_kinds("vsock:2:1234", false)]
    #[case::relative("notify", false)]
    #[case::empty("", false)]
    fn addresses(#[case] socket: &str, #[case] is_one: bool) {
        assert_eq!(address(OsStr::new(socket)).is_some(), is_one);
        let long = format!("{socket}{}", "x".repeat(200));
        assert!(address(OsStr::new(&long)).is_none());
    }

    #[test]
    fn nobody_listens_and_nobody_reads() {
        let (listener, mut notifier) = listener("full");
        for round in 0..5000 {
            notifier.begins(&round.to_string());
        }
        drop(listener);
        notifier.begins("to nobody");
        Notifier::default().begins("to nobody");
    }
}
