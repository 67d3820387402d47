//! A fault being played: an exchange under load, how often something was done to it, and what came of it.

use super::FaultsArguments;
use crate::under_load::exchange::{Site, within};
use crate::under_load::report::Report;
use crate::under_load::show::Show;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Calls come and go for so long before the first fault and after the last.
const QUIET: Duration = Duration::from_secs(2);
/// What must come about once a fault is over must do so within this.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often to look.
const LOOK: Duration = Duration::from_millis(100);

/// Where and how a fault is played.
pub(super) struct Stage<'a> {
    pub(super) binary: &'a Path,
    /// For the exchange's files and its logs.
    pub(super) folder: &'a Path,
    pub(super) arguments: &'a FaultsArguments,
    pub(super) seed: u64,
}

/// What a fault came to.
pub(super) struct Outcome {
    pub(super) report: Report,
    /// How many times it was injected.
    pub(super) injected: u32,
    /// The longest time from a fault's end until the exchange took calls again.
    pub(super) longest_outage: Duration,
}

impl Outcome {
    /// For machines.
    pub(super) fn json(&self, name: &str) -> Value {
        let mut figures = self.report.json();
        figures["fault"] = json!(name);
        figures["injected"] = json!(self.injected);
        figures["longest_outage_ms"] =
            json!(u64::try_from(self.longest_outage.as_millis()).unwrap_or(u64::MAX));
        figures
    }
}

/// A fault under way.
pub(super) struct Play {
    pub(super) show: Show,
    pub(super) random: fastrand::Rng,
    seed: u64,
    injected: u32,
    longest_outage: Duration,
}

impl Play {
    /// Starts the exchange with these settings beside the usual ones, and everything around it.
    pub(super) fn start(stage: &Stage<'_>, settings: &str) -> Result<Self> {
        Self::start_with(stage, settings, Vec::new())
    }

    /// The same, with an environment for the exchange.
    pub(super) fn start_with(
        stage: &Stage<'_>,
        settings: &str,
        variables: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let mut site = Site::prepare(stage.binary, stage.folder, settings)?;
        site.variables = variables;
        Self::on(stage, site)
    }

    /// Starts the exchange of a site that is prepared, and everything around it.
    pub(super) fn on(stage: &Stage<'_>, site: Site) -> Result<Self> {
        let mut show = Show::start(site, stage.folder, stage.arguments.cps)?;
        show.goes_on(QUIET)?;
        let random = fastrand::Rng::with_seed(stage.seed);
        Ok(Self { show, random, seed: stage.seed, injected: 0, longest_outage: Duration::ZERO })
    }

    /// Lets calls come and go for a while.
    pub(super) fn goes_on(&mut self, time: Duration) -> Result<()> {
        self.show.goes_on(time)
    }

    /// Something was done to it, and is over: waits until it takes calls again.
    pub(super) fn note_injected(&mut self) -> Result<()> {
        let outage = self.show.wait_until_back()?;
        self.note_outage(outage);
        Ok(())
    }

    /// Lets calls come and go until something has come about; else `missing` is what is wrong.
    pub(super) fn until(
        &mut self,
        missing: &'static str,
        mut is_so: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let seen = within(PATIENCE, || {
            self.goes_on(LOOK)?;
            Ok(is_so(self)?.then_some(()))
        })?;
        seen.context(missing)
    }

    /// One figure of the exchange's own metrics; 0 before there is one.
    pub(super) fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = self.show.site.api.ask("GET", "/metrics", None)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(line.unwrap_or(0.0))
    }

    /// Kills the exchange, and starts it again.
    pub(super) fn kill_exchange(&mut self) -> Result<()> {
        let outage = self.show.kill_exchange()?;
        self.note_outage(outage);
        Ok(())
    }

    fn note_outage(&mut self, outage: Duration) {
        self.injected += 1;
        self.longest_outage = self.longest_outage.max(outage);
    }

    /// Ends it. Errors in the log are violations where the fault gives no reason for one.
    pub(super) fn end(mut self, may_log_errors: bool) -> Result<Outcome> {
        self.goes_on(QUIET)?;
        let Self { show, seed, injected, longest_outage, .. } = self;
        let report = show.end(seed, injected, |line| may_log_errors && !line.contains("a defect"))?;
        Ok(Outcome { report, injected, longest_outage })
    }
}
