//! A virtual machine that is on. A script goes in through its second serial port, and comes back
//! as exit status, output and messages; nothing waits for time, only for those answers.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::guest::Guest;
use crate::support::{Done, Running};

/// No answer takes longer than this: the guest's processor is emulated, on a machine that may be
/// busy.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A guest that is on. Whatever ends it, its memory is lost and its disk stays.
pub struct Vm<'a> {
    guest: &'a Guest,
    qemu: Running,
    /// The boot ID.
    pub boot: String,
    /// The kernel's release.
    pub release: String,
}

impl<'a> Vm<'a> {
    /// Turns the guest on; its clock is right.
    pub fn boot(guest: &'a Guest) -> Self {
        Self::boot_at(guest, "utc")
    }

    /// Turns the guest on, with its battery-backed clock at `clock`, as `2001-02-03T04:05:06`.
    pub fn boot_at(guest: &'a Guest, clock: &str) -> Self {
        let mut command = Command::new("setpriv");
        // Whoever kills the test kills the guest.
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args(["-M", "q35", "-cpu", "max", "-m", "256", "-display", "none", "-nodefaults"]);
        command.args(["-no-reboot", "-rtc", &format!("base={clock}")]);
        command.args(["-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on"]);
        command.arg("-kernel").arg(guest.vmlinuz());
        command.arg("-initrd").arg(guest.initramfs());
        command.arg("-drive").arg(format!("file={},if=virtio,format=raw", guest.disk().display()));
        command.arg("-serial").arg(format!("file:{}", guest.console().display()));
        command.args(["-serial", "stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let qemu = Running::new(command.spawn().expect("qemu cannot be started"));
        let mut vm = Self { guest, qemu, boot: String::new(), release: String::new() };
        let line = vm.line();
        let [ready, boot, release] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?}: {}", vm.console())
        };
        assert_eq!(ready, "ready", "{}", vm.console());
        (vm.boot, vm.release) = (boot.to_owned(), release.to_owned());
        vm
    }

    /// Runs a shell script in the guest. What it leaves in the background goes on, if its output
    /// goes elsewhere.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> Done {
        let port = self.qemu.child.stdin.as_mut().unwrap();
        write!(port, "{}\n{script}", script.len()).unwrap();
        port.flush().unwrap();
        let line = self.line();
        let numbers: Vec<usize> = line.split(' ').map_while(|word| word.parse().ok()).collect();
        let [code, out, err] = numbers[..] else { panic!("{line:?}: {}", self.console()) };
        let status = ExitStatus::from_raw(i32::try_from(code).unwrap() << 8);
        Done(Output { status, stdout: self.read(out), stderr: self.read(err) })
    }

    /// Takes its power away, in the middle of whatever it does.
    pub fn power_off(self) {
        drop(self); // kills the emulator
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            match self.read(1)[0] {
                b'\n' => return String::from_utf8_lossy(&line).into_owned(),
                byte => line.push(byte),
            }
        }
    }

    fn read(&mut self, length: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let port = self.qemu.child.stdout.as_mut().unwrap();
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(port.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::try_from(left).unwrap()).unwrap();
            assert_ne!(ready, 0, "no answer within {PATIENCE:?}: {}", self.console());
            let read = port.read(&mut bytes[filled..]).unwrap();
            assert_ne!(read, 0, "the guest is off: {}", self.console());
            filled += read;
        }
        bytes
    }

    fn console(&self) -> String {
        let console = fs::read(self.guest.console()).unwrap_or_default();
        format!("console: {}", String::from_utf8_lossy(&console))
    }
}
