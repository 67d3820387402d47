//! What every fault happens to: an exchange, its callers, its buyers and its payers.

use super::FaultsArguments;
use crate::under_load::books;
use crate::under_load::deposits::Deposits;
use crate::under_load::exchange::{Exchange, Site, within};
use crate::under_load::load::Load;
use crate::under_load::marketplace::{self, Buyer};
use crate::under_load::report::Report;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// After a fault is over the exchange must take calls again within this.
const BACK_TIMEOUT: Duration = Duration::from_mins(1);

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

/// An exchange with calls and payments going on.
pub(super) struct Show<'a> {
    pub(super) site: Site,
    pub(super) random: fastrand::Rng,
    stage: &'a Stage<'a>,
    exchange: Option<Exchange>,
    buyers: Vec<Buyer>,
    load: Load,
    deposits: Deposits,
    injected: u32,
    longest_outage: Duration,
}

impl<'a> Show<'a> {
    /// Starts the exchange with these settings beside the usual ones, and everything around it.
    pub(super) fn start(stage: &'a Stage<'a>, settings: &str) -> Result<Self> {
        Self::start_with(stage, settings, Vec::new())
    }

    /// The same, with an environment for the exchange.
    pub(super) fn start_with(
        stage: &'a Stage<'a>,
        settings: &str,
        variables: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let mut site = Site::prepare(stage.binary, stage.folder, settings)?;
        site.variables = variables;
        let exchange = Some(Exchange::start(&site)?);
        let buyers = marketplace::load(&site.api)?;
        let load = Load::start(stage.folder, &buyers, site.sip, stage.arguments.cps)?;
        let accounts = buyers.iter().map(|buyer| buyer.account.clone()).collect();
        let deposits = Deposits::start(site.api.clone(), accounts);
        let random = fastrand::Rng::with_seed(stage.seed);
        let mut show = Self {
            site,
            random,
            stage,
            exchange,
            buyers,
            load,
            deposits,
            injected: 0,
            longest_outage: Duration::ZERO,
        };
        show.goes_on(Duration::from_secs(2))?;
        Ok(show)
    }

    /// Lets calls come and go for a while.
    pub(super) fn goes_on(&mut self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        self.load.must_run()
    }

    /// Something was done to it, and is over: waits until it takes calls again, without having been started again.
    pub(super) fn note_injected(&mut self) -> Result<()> {
        let over = Instant::now();
        let ready = within(BACK_TIMEOUT, || {
            Ok(matches!(self.site.api.ask("GET", "/health/ready", None), Ok((200, _))).then_some(()))
        })?;
        ready.context("the exchange did not come back; serve.log has its reason")?;
        self.injected += 1;
        self.longest_outage = self.longest_outage.max(over.elapsed());
        Ok(())
    }

    /// Kills the exchange in the middle of whatever it does, and starts it again.
    pub(super) fn kill_exchange(&mut self) -> Result<()> {
        let Some(exchange) = self.exchange.take() else { bail!("there is no exchange to kill") };
        exchange.kill()?;
        let down = Instant::now();
        self.exchange = Some(Exchange::start(&self.site)?);
        self.injected += 1;
        self.longest_outage = self.longest_outage.max(down.elapsed());
        Ok(())
    }

    /// The number of the exchange's process.
    pub(super) fn process(&self) -> Result<u32> {
        self.exchange.as_ref().map(Exchange::process).context("the exchange runs")
    }

    /// Ends everything in good order, and compares what was seen with what is in the books. Errors in the log are
    /// violations where the fault gives no reason for one.
    pub(super) fn end(mut self, may_log_errors: bool) -> Result<Outcome> {
        self.goes_on(Duration::from_secs(2))?;
        let mut report = Report { seed: self.stage.seed, cycles: self.injected, ..Report::default() };
        let paid_in = self.deposits.stop()?;
        self.load.stop()?;
        self.site.wait_until_idle()?;
        books::compare(&self.site.api, &self.buyers, &self.load, &paid_in, &mut report)?;
        if let Some(exchange) = self.exchange.take() {
            exchange.stop()?;
        }
        report.note_audit(&self.site.verify()?);
        let errors = self.site.logged_errors()?;
        report
            .violations
            .extend(errors.into_iter().filter(|line| !may_log_errors || line.contains("a defect")));
        if report.calls_answered == 0 || report.deposits_acknowledged == 0 {
            bail!("no call was answered, or no deposit acknowledged: this run says nothing");
        }
        Ok(Outcome { report, injected: self.injected, longest_outage: self.longest_outage })
    }
}
