//! Strikes jobguard at one system call, its own or one of the child behind the gate: it is killed
//! there, or the call fails.
//!
//! A tracer of our own (ptrace(2)), since strace cannot strike a child and spare its parent. The
//! child is traced up to its exec; what becomes of it then is the job, and left alone.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use syscalls::Sysno;

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Supervisor,
    /// The first child of the supervisor, until it execs.
    Child,
}

/// The `occurrence`-th call of that kind, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub who: Who,
    pub call: Sysno,
    occurrence: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} #{}", self.who, self.call, self.occurrence)
    }
}

/// What happens at a point, instead of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    Kill,
    Fail(Errno),
}

/// A jobguard under the tracer.
pub struct Traced {
    /// The supervisor's PID.
    pub pid: i32,
    thread: JoinHandle<Trace>,
}

/// A trace that is over.
pub struct Trace {
    /// How the supervisor ended.
    pub status: ExitStatus,
    /// All points but each one's exec and exit, in order.
    pub points: Vec<Point>,
    /// Whether the strike hit.
    pub struck: bool,
}

impl Traced {
    /// Starts a command, which is struck there, if at all.
    pub fn start(mut command: Command, strike: Option<(Point, Strike)>) -> Self {
        let (sender, receiver) = mpsc::channel();
        // The thread that forks is the tracer, and waits for no other thread's children.
        let thread = std::thread::spawn(move || {
            let supervisor = spawn_traced(&mut command);
            sender.send(supervisor.as_raw()).unwrap();
            Tracer::new(supervisor, strike).run()
        });
        Self { pid: receiver.recv().unwrap(), thread }
    }

    /// Whether the supervisor, and the child until its exec, are over.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for that.
    pub fn wait(self) -> Trace {
        self.thread.join().unwrap()
    }
}

#[allow(clippy::zombie_processes, reason = "the tracer waits for it, by its number")]
#[allow(unsafe_code, reason = "the only way to be traced from the first instruction on")]
fn spawn_traced(command: &mut Command) -> Pid {
    // SAFETY: ptrace(2) is a mere system call: no allocation, no lock.
    let command = unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
    let child = command.spawn().expect("cannot be started");
    Pid::from_raw(child.id().cast_signed())
}

/// A process that is traced at its calls.
struct Tracee {
    who: Who,
    /// It is in a call; the error that this one is to return, if it was struck.
    inside: Option<Option<Errno>>,
}

struct Tracer {
    supervisor: Pid,
    tracees: BTreeMap<Pid, Tracee>,
    strike: Option<(Point, Strike)>,
    counts: BTreeMap<(Who, Sysno), usize>,
    trace: Trace,
}

impl Tracer {
    fn new(supervisor: Pid, strike: Option<(Point, Strike)>) -> Self {
        let at_exec = waitpid(supervisor, None).unwrap();
        assert_eq!(at_exec, WaitStatus::Stopped(supervisor, Signal::SIGTRAP));
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(supervisor, options).unwrap();
        ptrace::syscall(supervisor, None).unwrap();
        let tracee = Tracee { who: Who::Supervisor, inside: None };
        let (tracees, counts) = ([(supervisor, tracee)].into(), BTreeMap::new());
        let status = ExitStatus::default();
        let trace = Trace { status, points: Vec::new(), struck: false };
        Self { supervisor, tracees, strike, counts, trace }
    }

    fn run(mut self) -> Trace {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            match waitpid(None, Some(flags)) {
                Err(Errno::ECHILD) => break, // all are over, or on their own
                Err(errno) => panic!("{errno}"),
                Ok(status) => self.on(status),
            }
        }
        self.trace
    }

    fn on(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Exited(pid, code) => self.over(pid, code << 8),
            WaitStatus::Signaled(pid, signal, _) => self.over(pid, signal as i32),
            WaitStatus::PtraceSyscall(pid) => self.at_call(pid),
            WaitStatus::PtraceEvent(pid, _, event) if event == Event::PTRACE_EVENT_EXEC as i32 => {
                resume(ptrace::detach(pid, None)); // the job
            }
            WaitStatus::PtraceEvent(pid, ..) => self.go_on(pid, None),
            // How a new tracee reports.
            WaitStatus::Stopped(pid, Signal::SIGSTOP) => {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
                let thread = format!("Tgid:\t{}\n", self.supervisor);
                let is_thread = status.is_ok_and(|status| status.contains(&thread));
                let who = if is_thread { Who::Supervisor } else { Who::Child };
                self.tracees.insert(pid, Tracee { who, inside: None });
                self.go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
            other => panic!("{other:?}"),
        }
    }

    fn over(&mut self, pid: Pid, status: i32) {
        if pid == self.supervisor {
            self.trace.status = ExitStatus::from_raw(status);
        }
    }

    /// A call begins or is done.
    fn at_call(&mut self, pid: Pid) {
        let tracee = self.tracees.get_mut(&pid).expect("a new child reports before its first call");
        let Ok(mut registers) = ptrace::getregs(pid) else { return }; // it was killed meanwhile
        match tracee.inside.take() {
            None => {
                let who = tracee.who;
                let call = Sysno::new(registers.orig_rax as usize).expect("a known call");
                let strike = self.strike_at(who, call);
                let errno = match strike {
                    Some(Strike::Kill) => return kill(pid, Signal::SIGKILL).unwrap(),
                    Some(Strike::Fail(errno)) => Some(errno),
                    None => None,
                };
                if errno.is_some() {
                    registers.orig_rax = u64::MAX; // no such call: the kernel skips it
                    resume(ptrace::setregs(pid, registers));
                }
                self.tracees.get_mut(&pid).unwrap().inside = Some(errno);
            }
            Some(None) => {}
            Some(Some(errno)) => {
                let rax = i64::from(-(errno as i32)).cast_unsigned();
                resume(ptrace::setregs(pid, user_regs_struct { rax, ..registers }));
            }
        }
        self.go_on(pid, None);
    }

    /// To the next call; once the strike has struck there is nothing more to see.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) {
        let is_failing = || self.tracees.values().any(|t| matches!(t.inside, Some(Some(_))));
        let is_over = self.trace.struck && !is_failing();
        resume(if is_over { ptrace::cont(pid, signal) } else { ptrace::syscall(pid, signal) });
    }

    /// Takes down a call, and says whether and how it is to be struck.
    fn strike_at(&mut self, who: Who, call: Sysno) -> Option<Strike> {
        if matches!(call, Sysno::execve | Sysno::exit | Sysno::exit_group | Sysno::restart_syscall)
        {
            return None;
        }
        let occurrence = self.counts.entry((who, call)).or_default();
        *occurrence += 1;
        let here = Point { who, call, occurrence: *occurrence };
        self.trace.points.push(here);
        let (_, strike) = self.strike.filter(|(point, _)| *point == here)?;
        self.trace.struck = true;
        Some(strike)
    }
}

/// A tracee that was killed meanwhile is not there any more; its end is on its way.
#[track_caller]
fn resume(result: nix::Result<()>) {
    assert!(matches!(result, Ok(()) | Err(Errno::ESRCH)), "{result:?}");
}
