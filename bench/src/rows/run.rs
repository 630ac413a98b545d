//! A run on a free machine, beside all other wrappers.

use std::path::Path;

use crate::launch::Launch;
use crate::peers::{self, find};
use crate::race::{Candidate, Times, race};
use crate::report::{Field, Peer, Report, Row};
use crate::rig::Rig;

const OURS: &str = "jobguard";
const FLOOR: &str = "fork, exec, wait";

pub fn measure(rig: &Rig, report: &mut Report) {
    let (there, missing) = peers::present();
    report.skipped.extend(missing);
    let has = |name: &str| there.iter().any(|peer| peer.name == name);
    assert!(has("flock"), "there is nothing to compare with without flock");

    let coreutils = find("true").expect("there is no true").display().to_string();
    let tmpfs = contest(rig, &rig.tmpfs, &coreutils, &there, rig.times(2000));
    let ratio = |key, text: &str, times: &Times, to| {
        Row::ratio(key, format!("{text} ÷ {to}"), times.ratio(OURS, to))
    };
    let text = "run of `true`, state on tmpfs";
    report.rows.push(ratio("run_tmpfs_flock", text, &tmpfs, "flock").at_most(0.80));
    if has("s6-setlock") {
        report.rows.push(ratio("run_tmpfs_s6", text, &tmpfs, "s6-setlock").at_most(1.0));
    }
    report.rows.push(ratio("run_tmpfs_floor", text, &tmpfs, FLOOR).at_most(1.2));
    report.fields.push(field("tmpfs", &tmpfs));

    let ext4 = contest(rig, &rig.ext4, &coreutils, &there, rig.times(2000));
    let text = "run of `true`, state on ext4";
    report.rows.push(ratio("run_ext4_flock", text, &ext4, "flock").at_most(0.95));
    report.fields.push(field("ext4", &ext4));

    // The job of coreutils takes most of the time; this one takes next to none.
    let few: Vec<_> =
        there.iter().copied().filter(|peer| ["flock", "s6-setlock"].contains(&peer.name)).collect();
    let least = contest(rig, &rig.tmpfs, &rig.tool("true"), &few, rig.times(2000));
    let text = "run of a static job that does nothing, tmpfs";
    report.rows.push(ratio("run_static_flock", text, &least, "flock"));
    if has("s6-setlock") {
        report.rows.push(ratio("run_static_s6", text, &least, "s6-setlock"));
    }
    report.rows.push(ratio("run_static_floor", text, &least, FLOOR));
}

fn contest(rig: &Rig, place: &Path, job: &str, peers: &[&peers::Peer], rounds: usize) -> Times {
    let scratch = rig.scratch(place);
    let dir = scratch.path();
    let wrapped = |mut words: Vec<String>| {
        words.push(job.to_owned());
        Launch::new(&words, &[])
    };
    let mut candidates = vec![
        Candidate::new("no wrapper", wrapped(Vec::new())),
        Candidate::new(FLOOR, wrapped(vec![rig.tool("floor")])),
        Candidate::new(OURS, rig.guarded(&dir.join("state"), "m", &[job])),
    ];
    candidates.extend(peers.iter().map(|peer| Candidate::new(peer.name, wrapped(peer.words(dir)))));
    race(candidates, rounds)
}

fn field(place: &'static str, times: &Times) -> Field {
    let peer = |name: &str| Peer {
        name: name.to_owned(),
        ratio: times.ratio(name, "flock"),
        microseconds: times.p50(name),
    };
    let mut peers: Vec<Peer> = times.names().map(peer).collect();
    peers.sort_by(|a, b| a.ratio.p50.total_cmp(&b.ratio.p50));
    Field { place, peers }
}
