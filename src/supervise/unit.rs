//! The systemd unit that we run in; recorded for people, never trusted.

use crate::sys::procfs;

/// The unit, as sd_pid_get_unit(3) finds it: from our cgroup.
///
/// Under a user's manager it is the user's unit, as of sd_pid_get_user_unit(3); in a container the
/// container's, where that has a cgroup namespace. `None` where there is no systemd.
pub fn own() -> Option<String> {
    let cgroups = procfs::read_piece("/proc/self/cgroup").ok()?;
    unit_of(&String::from_utf8_lossy(&cgroups))
}

/// The ID that systemd gave this invocation of the unit, from the environment. A service's
/// descendants inherit it, whichever unit they end up in.
pub fn invocation_id() -> Option<String> {
    let id = std::env::var("INVOCATION_ID").ok()?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// The unit in the text of `/proc/PID/cgroup`. systemd knows its units in the unified hierarchy, and
/// on hosts that lack that, in one of its own.
fn unit_of(cgroups: &str) -> Option<String> {
    // A line is `ID:CONTROLLERS:PATH`, of the unified hierarchy without controllers (cgroups(7)); what
    // stands in the path is anybody's choice.
    let path = |controllers| {
        let mut lines = cgroups.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(_, rest)| rest.strip_prefix(controllers))
    };
    let unit = |controllers| path(controllers).and_then(unit_in);
    unit(":").or_else(|| unit("name=systemd:"))
}

/// The unit in the path of a cgroup: the first component that is no slice. Deeper ones are the
/// unit's own affair, but for those of a user's manager.
fn unit_in(path: &str) -> Option<String> {
    let mut components = path
        .split('/')
        // What would look like a file of the kernel's is escaped.
        .map(|component| component.strip_prefix('_').unwrap_or(component))
        .filter(|component| !component.is_empty() && !component.ends_with(".slice"));
    let system = components.next().filter(|name| is_unit(name))?;
    let is_user_manager = system.starts_with("user@") && system.ends_with(".service");
    let user = components.next().filter(|name| is_user_manager && is_unit(name));
    Some(user.unwrap_or(system).to_owned())
}

/// Whether this is the name of a unit that has processes.
fn is_unit(name: &str) -> bool {
    const KINDS: [&str; 5] = ["service", "scope", "socket", "mount", "swap"];
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    name.len() < 256
        && name.bytes().all(allowed)
        && name
            .rsplit_once('.')
            .is_some_and(|(stem, kind)| !stem.is_empty() && KINDS.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::service("0::/system.slice/sched.service\n", Some("sched.service"))]
    #[case::instance(
        "0::/system.slice/system-w.slice/w@a\\x2db.service",
        Some("w@a\\x2db.service")
    )]
    #[case::deeper_is_its_own_affair(
        "0::/system.slice/a.service/b.service/init.scope",
        Some("a.service")
    )]
    #[case::session("0::/user.slice/user-1000.slice/session-2.scope", Some("session-2.scope"))]
    #[case::user_unit(
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service",
        Some("foo.service")
    )]
    #[case::user_manager(
        "0::/user.slice/user-1000.slice/user@1000.service/init.scope",
        Some("init.scope")
    )]
    #[case::user_manager_without_more(
        "0::/user.slice/user@1000.service",
        Some("user@1000.service")
    )]
    #[case::escaped("0::/system.slice/_cgroup.service", Some("cgroup.service"))]
    #[case::hybrid(
        "9:name=systemd:/\n8:pids:/x.service\n0::/system.slice/a.service",
        Some("a.service")
    )]
    #[case::legacy("8:pids:/\n1:name=systemd:/system.slice/cron.service\n", Some("cron.service"))]
    #[case::looks_like_the_unified_one("8:pids:/x0::/y.service\n0::/a.service", Some("a.service"))]
    #[case::looks_like_the_legacy_one(
        "8:pids:/x:name=systemd:/y.service\n1:name=systemd:/a.service",
        Some("a.service")
    )]
    #[case::none("0::/\n", None)]
    #[case::a_slice_only("0::/system.slice", None)]
    #[case::outside_of_our_namespace("0::/../system.slice/a.service", None)]
    #[case::another_manager("0::/docker/0123abcd", None)]
    #[case::dressed_up("0::/system.slice/a\u{1b}[31m.service", None)]
    #[case::no_name("0::/.service", None)]
    #[case::nothing("", None)]
    fn the_unit_is_what_systemd_would_say(#[case] cgroups: &str, #[case] unit: Option<&str>) {
        assert_eq!(unit_of(cgroups).as_deref(), unit);
    }
}
