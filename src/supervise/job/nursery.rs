//! How a claim brings the job into the world, or finds that it is there.

use std::io;
use std::os::fd::RawFd;

use super::{EXEC_PATIENCE, Job};
use crate::error::Error;
use crate::machine::argument::Argument;
use crate::machine::record::Holder;
use crate::machine::ticket::Ticket;
use crate::report::human;
use crate::supervise::cgroup::Cgroup;
use crate::transaction::joint::Nursery;
use crate::transaction::now;

impl Nursery for Job {
    fn fork(&mut self, tokens: &[u64], keep_out: &[RawFd]) -> Result<Holder, Error> {
        self.keep(tokens)?;
        let job = match self.adopted() {
            None => self.fork_child(tokens, keep_out).map_err(Error::io("start the job"))?,
            Some(process) => {
                process.must_be_there()?;
                self.id.insert(process.id().clone()).clone()
            }
        };
        self.draft.started_at = now().0;
        let output = self.output.as_mut();
        let path = output.map(|output| output.is_for(tokens, &self.draft.started_at));
        self.draft.output = path.map(|path| Argument::from(path.as_os_str()));
        Ok(Holder { job: Some(job), ..self.draft.clone() })
    }

    fn open_gate(&mut self) {
        self.hand_over_terminal();
        self.hand_over_early_keys();
        let running = format!("running \"{}\" (PID {})", human::title(&self.draft), self.pid());
        // Before it: what the job says of itself comes later, and stays.
        self.setting.notifier.begins(&running);
        self.spent.begin();
        self.gate_error = match self.let_through() {
            // The child was killed meanwhile, which the watch will find out.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            // Its output cannot go where it should, or memory was short: the child ends by itself, and
            // the watch will see that, too.
            Err(error) => Some(error),
            Ok(()) => None,
        };
        if self.setting.notifier.says_ready()
            && self.gate_error.is_none()
            && self.child.as_ref().is_some_and(|child| child.becomes_the_job(EXEC_PATIENCE))
        {
            self.setting.notifier.has_begun();
        }
    }

    fn ticket(&self) -> Ticket {
        let machines = self.setting.environment.machines();
        // One says itself where the ticket is.
        let machines = if machines.len() > 1 { machines.to_vec() } else { Vec::new() };
        Ticket::of(&self.draft, machines, self.holds().local(), now().0)
    }

    fn abandon(&mut self) {
        self.forget();
        self.pidfd = None;
        if let Some(child) = self.child.take() {
            child.abandon();
        }
        self.cgroup.take().iter().for_each(Cgroup::remove);
    }
}
