//! The gates that a call's head passes, in their order: a place, limits by client, who calls, limits by caller.

use std::time::Duration;

use http::HeaderMap;

use super::Call;
use crate::config::Priority;
use crate::envelope::head::Head;
use crate::error::Error;
use crate::gateway::route::Rpc;
use crate::policy::overload::Places;
use crate::policy::rate::{self, Rates, Stage, Taking};

impl Call {
    /// Takes a place among the calls in flight, and keeps it to the end.
    pub(in crate::gateway) fn enter(&mut self, places: &Places, priority: Priority) -> Result<(), Error> {
        places.enter(priority)?;
        self.entered = true;
        Ok(())
    }

    /// Asks the gates that a head passes, in their order: limits by client, who calls, limits by caller.
    pub(in crate::gateway) fn gates<'a>(&'a mut self, rpc: &'a Rpc, head: &'a Head<'a>) -> Taking<'a> {
        let headers = &head.headers;
        if self.worker.store.redis().is_some() && !rpc.rates.is_empty() {
            return Taking::Asked(Box::pin(async move {
                self.limit(&rpc.rates, Stage::Head, headers, &[]).await?;
                if !self.ask(&rpc.asking(), head)? {
                    self.wait_in_time(rpc, head).await?;
                }
                self.limit(&rpc.rates, Stage::Caller, headers, &[]).await
            }));
        }
        // Decided here, all of them: one limit waits only where the others do, and a token that is known not at all.
        if let Taking::Decided(Err(refused)) = self.limit(&rpc.rates, Stage::Head, headers, &[]) {
            return Taking::Decided(Err(refused));
        }
        match self.ask(&rpc.asking(), head) {
            Ok(true) => self.limit(&rpc.rates, Stage::Caller, headers, &[]),
            Ok(false) => Taking::Asked(Box::pin(async move {
                self.wait_in_time(rpc, head).await?;
                self.limit(&rpc.rates, Stage::Caller, headers, &[]).await
            })),
            Err(refused) => Taking::Decided(Err(Box::new(refused))),
        }
    }

    /// Waits until somebody has said who calls, for as long as the call may take: what it waits for goes on for others.
    async fn wait_in_time(&mut self, rpc: &Rpc, head: &Head<'_>) -> Result<(), Error> {
        let (deadline, _) = self.time(rpc, head)?;
        let worker = self.worker.clone();
        let waited = worker.pool.within(deadline, self.wait(&rpc.asking(), head)).await;
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
