//! An exchange with calls and payments going on, from its start to the comparison of what was seen with what is in the books.

use super::books;
use super::deposits::Deposits;
use super::exchange::{Exchange, Site, within};
use super::load::Load;
use super::marketplace::{self, Buyer};
use super::report::Report;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};

/// After something that was done to it is over the exchange must take calls again within this.
const BACK_TIMEOUT: Duration = Duration::from_mins(1);

/// The exchange and everything around it.
pub(crate) struct Show {
    pub(crate) site: Site,
    pub(crate) load: Load,
    pub(crate) deposits: Deposits,
    exchange: Exchange,
    buyers: Vec<Buyer>,
    report: Report,
}

impl Show {
    /// Starts the exchange of a site, then those who buy, call and pay.
    pub(crate) fn start(site: Site, folder: &Path, cps: u32) -> Result<Self> {
        let exchange = Exchange::start(&site)?;
        let buyers = marketplace::load(&site.api)?;
        let load = Load::start(folder, &buyers, site.sip, cps)?;
        let accounts = buyers.iter().map(|buyer| buyer.account.clone()).collect();
        let deposits = Deposits::start(site.api.clone(), accounts);
        Ok(Self { site, load, deposits, exchange, buyers, report: Report::default() })
    }

    /// Lets calls come and go for a while.
    pub(crate) fn goes_on(&mut self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        self.load.must_run()
    }

    /// Waits until the exchange takes calls, without having been started again; how long that took.
    pub(crate) fn wait_until_back(&self) -> Result<Duration> {
        let over = Instant::now();
        let ready = within(BACK_TIMEOUT, || {
            Ok(matches!(self.site.api.ask("GET", "/health/ready", None), Ok((200, _))).then_some(()))
        })?;
        ready.context("the exchange did not come back; serve.log has its reason")?;
        Ok(over.elapsed())
    }

    /// Kills the exchange in the middle of whatever it does, and starts it again; how long it was down.
    pub(crate) fn kill_exchange(&mut self) -> Result<Duration> {
        self.exchange.kill()?;
        let down = Instant::now();
        self.exchange = Exchange::start(&self.site)?;
        Ok(down.elapsed())
    }

    /// Stops the exchange in good order, audits its books, and starts it again.
    pub(crate) fn audit(&mut self) -> Result<()> {
        self.exchange.stop()?;
        self.report.note_audit(&self.site.verify()?);
        self.exchange = Exchange::start(&self.site)?;
        Ok(())
    }

    /// The number of the exchange's process.
    pub(crate) fn process(&self) -> u32 {
        self.exchange.process()
    }

    /// Ends everything in good order, and compares what was seen with what is in the books. Errors in the log are
    /// violations, but for those that `excused` gives a reason for.
    pub(crate) fn end(self, seed: u64, cycles: u32, excused: impl Fn(&str) -> bool) -> Result<Report> {
        let Self { site, mut load, deposits, mut exchange, buyers, mut report } = self;
        let paid_in = deposits.stop()?;
        load.stop()?;
        site.wait_until_idle()?;
        books::compare(&site.api, &buyers, &load, &paid_in, &mut report)?;
        exchange.stop()?;
        report.note_audit(&site.verify()?);
        report.violations.extend(site.logged_errors()?.into_iter().filter(|line| !excused(line)));
        if report.calls_answered == 0 || report.deposits_acknowledged == 0 {
            bail!("no call was answered, or no deposit acknowledged: this run says nothing");
        }
        Ok(Report { seed, cycles, ..report })
    }
}
