//! The gates that a call's head passes, in their order: a place, limits by client, who calls, limits by caller.

use std::time::{Duration, Instant};

use http::HeaderMap;

use super::Call;
use crate::envelope::head::Head;
use crate::error::Error;
use crate::gateway::caller::Asking;
use crate::gateway::route::Rpc;
use crate::policy::overload::{Places, Wish};
use crate::policy::rate::{self, Rates, Stage, Taking};

/// What is behind gates: an RPC, or a token endpoint.
pub(in crate::gateway) trait Gated: Sync {
    /// The places of its calls in flight, and what decides how many of them are left to others.
    fn places(&self) -> (&Places, Wish);
    /// How often who may come.
    fn rates(&self) -> &Rates;
    /// Who may.
    fn asking(&self) -> Asking<'_>;
    /// When a call is given up that waits until it is known whose it is.
    fn deadline(&self, call: &mut Call, head: &Head<'_>) -> Result<Instant, Error>;
}

impl Call {
    /// Asks the gates that a head passes, in their order. The place that it takes is kept to the call's end.
    pub(in crate::gateway) fn gates<'a>(&'a mut self, gated: &'a dyn Gated, head: &'a Head<'a>) -> Taking<'a> {
        let (rates, headers) = (gated.rates(), &head.headers);
        if let Err(full) = self.enter(gated) {
            return Taking::Decided(Err(Box::new(full)));
        }
        if self.worker.store.redis().is_some() && !rates.is_empty() {
            return Taking::Asked(Box::pin(async move {
                self.limit(rates, Stage::Head, headers, &[]).await?;
                if !self.ask(&gated.asking(), head)? {
                    self.wait_in_time(gated, head).await?;
                }
                self.limit(rates, Stage::Caller, headers, &[]).await
            }));
        }
        // Decided here, all of them: one limit waits only where the others do, and a token that is known not at all.
        if let Taking::Decided(Err(refused)) = self.limit(rates, Stage::Head, headers, &[]) {
            return Taking::Decided(Err(refused));
        }
        match self.ask(&gated.asking(), head) {
            Ok(true) => self.limit(rates, Stage::Caller, headers, &[]),
            Ok(false) => Taking::Asked(Box::pin(async move {
                self.wait_in_time(gated, head).await?;
                self.limit(rates, Stage::Caller, headers, &[]).await
            })),
            Err(refused) => Taking::Decided(Err(Box::new(refused))),
        }
    }

    fn enter(&mut self, gated: &dyn Gated) -> Result<(), Error> {
        let (places, wish) = gated.places();
        self.place = Some(places.enter(self.client, wish)?);
        Ok(())
    }

    /// Waits until somebody has said who calls, for as long as the call may take: what it waits for goes on for others.
    async fn wait_in_time(&mut self, gated: &dyn Gated, head: &Head<'_>) -> Result<(), Error> {
        let deadline = gated.deadline(self, head)?;
        let worker = self.worker.clone();
        let waited = worker.pool.within(deadline, self.wait(&gated.asking(), head)).await;
        waited.unwrap_or_else(|| Err(worker.pool.overdue()))
    }

    /// Asks a route's limits of a stage; `message` is what the upstream will be sent, once it is known.
    pub(in crate::gateway) fn limit<'a>(
        &'a mut self,
        rates: &'a Rates,
        stage: Stage,
        headers: &'a HeaderMap,
        message: &'a [u8],
    ) -> Taking<'a> {
        let known = rate::Known { client: self.client, headers, caller: self.caller.as_deref(), message };
        rates.take(stage, known, &self.worker.store, &mut self.rated)
    }

    /// How long it may still wait for the store.
    pub(in crate::gateway) fn patience(&self) -> Duration {
        self.rated.patience()
    }
}

impl Gated for Rpc {
    fn places(&self) -> (&Places, Wish) {
        (&self.places, Wish { priority: self.settings.priority.value, streams: self.streams() })
    }

    fn rates(&self) -> &Rates {
        &self.rates
    }

    fn asking(&self) -> Asking<'_> {
        let (judge, renewal) = (self.judge.as_ref(), self.renewal.as_deref());
        let leaves = self.session.as_ref().filter(|session| session.closes()).map(|session| &**session.cookies());
        Asking { gate: &self.gate, judge, renewal, cors: self.cors.as_deref(), leaves }
    }

    fn deadline(&self, call: &mut Call, head: &Head<'_>) -> Result<Instant, Error> {
        call.time(self, head).map(|(deadline, _)| deadline)
    }
}
