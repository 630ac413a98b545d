//! Variables that are meant for one process, and name it by its PID: of what the service manager executes,
//! which is us. The job is to find its own there, which nobody knows before the fork.

use std::ffi::{CString, c_char};

/// `$LISTEN_PID` of sd_listen_fds(3), `$WATCHDOG_PID` of sd_watchdog_enabled(3).
const NAMES: [&str; 2] = ["LISTEN_PID=", "WATCHDOG_PID="];

/// Says the same as `LISTEN_PID` by the inode of a pidfd, and is read only where it is set: without it
/// the PID alone decides.
const BY_PIDFD: &[u8] = b"LISTEN_PIDFDID=";

/// The longest name, the ten digits of a `u32` and the NUL have room.
const ROOM: usize = 32;

/// An entry of an environment that is to hold the PID of who executes with it.
#[derive(Debug, Clone)]
pub(super) struct OwnPid {
    index: usize,
    name: &'static str,
    entry: [u8; ROOM],
}

impl OwnPid {
    /// The entries that are meant for `pid`. What names that one in other words is taken out of `envp`.
    pub(super) fn find(envp: &mut Vec<CString>, pid: u32) -> Vec<Self> {
        let names = |entry: &CString, name: &str| {
            entry.to_bytes().strip_prefix(name.as_bytes()) == Some(pid.to_string().as_bytes())
        };
        if envp.iter().any(|entry| names(entry, NAMES[0])) {
            envp.retain(|entry| !entry.to_bytes().starts_with(BY_PIDFD));
        }
        let name_of = |entry| NAMES.into_iter().find(|name| names(entry, name));
        let own = |(index, entry)| Some(Self { index, name: name_of(entry)?, entry: [0; ROOM] });
        envp.iter().enumerate().filter_map(own).collect()
    }

    /// Puts the entry for `pid` into its place in `envp`, which points to it as long as it lives. Does not
    /// allocate.
    pub(super) fn put(&mut self, pid: u32, envp: &mut [*const c_char]) {
        let digits = pid.checked_ilog10().map_or(1, |log| log as usize + 1);
        let mut rest = pid;
        for place in self.entry.iter_mut().skip(self.name.len()).take(digits).rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for (place, byte) in self.entry.iter_mut().zip(self.name.bytes()) {
            *place = byte;
        }
        if let Some(pointer) = envp.get_mut(self.index) {
            *pointer = self.entry.as_ptr().cast();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    /// What the process 4242 would hand to its child `child`.
    fn handed_on(entries: &[&str], child: u32) -> Vec<String> {
        let mut envp: Vec<CString> = entries.iter().map(|e| CString::new(*e).unwrap()).collect();
        let mut own = OwnPid::find(&mut envp, 4242);
        let text: Vec<String> = envp.iter().map(|e| e.to_str().unwrap().to_owned()).collect();
        let mut pointers = vec![std::ptr::null(); envp.len()];
        own.iter_mut().for_each(|own| own.put(child, &mut pointers));
        let written = |own: &OwnPid| {
            assert_eq!(pointers[own.index], own.entry.as_ptr().cast());
            let entry = CStr::from_bytes_until_nul(&own.entry).unwrap();
            (own.index, entry.to_str().unwrap().to_owned())
        };
        let own: Vec<_> = own.iter().map(written).collect();
        assert_eq!(pointers.iter().filter(|pointer| !pointer.is_null()).count(), own.len());
        let mut text = text;
        own.into_iter().for_each(|(index, entry)| text[index] = entry);
        text
    }

    #[test]
    fn what_is_meant_for_us_is_meant_for_the_job() {
        let ours = ["A=1", "WATCHDOG_PID=4242", "LISTEN_PIDFDID=7", "LISTEN_PID=4242", "B=2"];
        for child in [0, 1, 9, 10, 4243, 4_194_304, u32::MAX] {
            let (watchdog, listen) =
                (format!("WATCHDOG_PID={child}"), format!("LISTEN_PID={child}"));
            assert_eq!(handed_on(&ours, child), ["A=1", &watchdog, &listen, "B=2"]);
        }
    }

    #[test]
    fn what_is_meant_for_others_is_theirs() {
        let theirs = [
            "LISTEN_PID=424",
            "LISTEN_PID=42424",
            "LISTEN_PID=",
            "LISTEN_PID",
            "LISTEN_PID=04242",
            "LISTEN_PIDFDID=7",
            "MY_LISTEN_PID=4242",
            "LISTEN_FDS=4242",
            "WATCHDOG_PID= 4242",
        ];
        assert_eq!(handed_on(&theirs, 5), theirs);
    }
}
