//! `adopt`, resolved: a run whose job runs already.

use super::Plan;
use super::run::{EX_TEMPFAIL, RETRY_DELAY, RunPlan, limits, sharing};
use crate::cli::args::output::OutputPlan;
use crate::cli::args::{AdoptArgs, Leftovers, OnBusy, OnSupervisorDeath};
use crate::cli::settings::Settings;
use crate::machine::name::MachineName;
use crate::supervise::retries::{Retries, RetryOn};

pub(super) fn plan(
    machine: MachineName,
    args: AdoptArgs,
    settings: Settings,
) -> Result<Plan, String> {
    if args.limits.timeout.is_none() && args.limits.kill_after.is_some() {
        return Err("-k (--kill-after) belongs to --timeout".to_owned());
    }
    let (mode, slots) = sharing(args.shared, args.slots);
    Ok(Plan::Run(Box::new(RunPlan {
        machines: vec![machine],
        mode,
        slots,
        command: Vec::new(),
        adopts: Some(args.pid),
        on_busy: if args.nonblock { OnBusy::Fail } else { OnBusy::Wait },
        wait: args.wait,
        max_pending: None,
        limits: limits(&args.limits),
        leftovers: Leftovers::Leave,
        // What we did not start we cannot start again.
        retries: Retries { count: 0, delay: RETRY_DELAY, backoff: false, on: RetryOn::any() },
        rerun_if_lost: false,
        rerun_env: Vec::new(),
        repeats: None,
        words: Vec::new(),
        busy_exit: args.conflict_exit_code.unwrap_or(EX_TEMPFAIL),
        name: args.name,
        // The kernel would not know: it is no child of ours.
        on_supervisor_death: Some(OnSupervisorDeath::Keep),
        notify: None,
        group: None,
        // It has that already.
        output: OutputPlan { log: None, quiet_unless_fail: false },
        settings,
    })))
}
