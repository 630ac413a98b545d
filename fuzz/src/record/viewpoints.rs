//! From where a record is looked at, and what was found: enough to reach each kind of verdict.

use std::time::Duration;

use jobguard::identity::host::{Host, Locality};
use jobguard::identity::process::{Kernel, Sighting};
use jobguard::identity::verdict::{Evidence, GRACE, Observer, Touch, View};
use jobguard::machine::reading::Reading;
use nix::sys::statfs::FsType;

/// What the kernel, or a record, may make us say.
const HOSTILE: &str = "a\x1b[2Jb\r\nc\u{202e}d\u{9b}1me";

/// Who looks, and what they found.
pub fn viewpoints(reading: &Reading) -> Vec<(Observer, Evidence)> {
    // The first holder's own host, and another.
    let home = reading.record.holders.first().map(|holder| holder.host.clone());
    let home = home.unwrap_or_default();
    let away = Host {
        id: "elsewhere".to_owned(),
        boot_id: "another".to_owned(),
        boot_id_genuine: true,
        ..Host::default()
    };
    let rebooted = Host { id: home.id.clone(), ..away.clone() };
    let hostile = || HOSTILE.to_owned();
    let none = Evidence::none;
    let seen = |job, supervisor, waited: Duration| Evidence {
        view: View::Seen,
        job: Some(job),
        supervisor: Some(supervisor),
        job_over_for: waited,
        ..none()
    };
    use Sighting::{Alive, Denied, Gone, Reused, Unclear};
    let local = Locality::Local;
    let unknown = Locality::Unknown(FsType(0x6969));
    [
        (&home, local, seen(Alive, Gone, GRACE)),
        (&home, local, seen(Gone, Alive, Duration::ZERO)),
        (&home, local, Evidence { now: 1, ..seen(Reused, Gone, GRACE) }),
        (&home, unknown, seen(Denied(hostile()), Unclear(hostile()), GRACE)),
        (&home, local, Evidence { lifeline: Touch::Slack, slack_for: GRACE, ..none() }),
        (&home, local, Evidence { lifeline: Touch::Taut, now: i64::MAX, ..none() }),
        (&away, unknown, Evidence { lifeline: Touch::Unknown(hostile()), ..none() }),
        (&rebooted, local, Evidence { torn_before_boot: true, now: i64::MIN, ..none() }),
    ]
    .map(|(host, locality, evidence)| (observer(host, locality), evidence))
    .into()
}

fn observer(host: &Host, locality: Locality) -> Observer {
    Observer {
        host: host.clone(),
        kernel: Kernel { pidfd: true, pidfd_inode: true, proc: true },
        locality,
        legacy_grace: Duration::from_secs(300),
    }
}
