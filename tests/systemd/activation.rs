//! What systemd hands to the process that it executes is the job's: a socket, and the watchdog.

use crate::machine::Machine;
use crate::service;
use crate::support::until;

/// A service in Python that asks for itself what sd_listen_fds(3) and sd_watchdog_enabled(3) ask. To each
/// who comes it says that it is well, and to the watchdog, too.
const SERVES: &str = "
import os, socket
mine = str(os.getpid())
assert (os.environ['LISTEN_PID'], os.environ['LISTEN_FDS']) == (mine, '1'), os.environ
assert os.environ['WATCHDOG_PID'] == mine, os.environ
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.connect(os.environ['NOTIFY_SOCKET'])
listener = socket.socket(fileno=3)
while True:
    client, _ = listener.accept()
    manager.send(b'WATCHDOG=1')
    client.sendall(b'well')
    client.close()
";

const ASKS: &str = "
import socket
client = socket.socket(socket.AF_UNIX)
client.connect('/run/served')
print(client.recv(100).decode())
";

#[test]
fn the_sockets_and_the_watchdog_are_the_jobs() {
    let machine = Machine::booted();
    std::fs::write(machine.path("serves.py"), SERVES).unwrap();
    let command = "/rig/bin/jobguard -m served -- /usr/bin/python3 /rig/serves.py";
    machine.install("served.socket", "[Socket]\nListenStream=/run/served\n");
    let more = ["WatchdogSec=30s", "NotifyAccess=all"];
    machine.install("served.service", &service(command, &more));
    machine.systemctl(&["start", "served.socket"]);
    let ask = || {
        assert_eq!(machine.run("python3", &["-c", ASKS]).exits(0).stdout(), "well\n");
        machine.show("served").get("WatchdogTimestampMonotonic").to_owned()
    };
    let first = ask();
    until("systemd has heard it", || ask() != first);
    let unit = machine.show("served");
    assert_eq!((unit.state().as_str(), unit.get("NRestarts")), ("active (running)", "0"));
}
