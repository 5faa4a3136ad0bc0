//! Buckets in Redis: one script, so that all of a call's limits are taken or none is.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Value;
use smallvec::SmallVec;

use super::{Redis, Script, Unavailable};
use crate::store::gcra::{Quota, Standing};
use crate::store::limit::{Ask, Standings};

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("take.lua")));

/// A permit of a limit, or several at once; a negative number gives them back.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Want<'a> {
    pub(in crate::store) ask: Ask<'a>,
    pub(in crate::store) permits: i64,
}

impl Redis {
    /// Takes permits from every bucket, or from none if one is empty. In one round trip; a cluster, where those of
    /// different askers may lie on different servers, is asked once for each of them, and what the first ones gave is
    /// given back when a later one refuses.
    ///
    /// # Errors
    /// No answer in time. Then what was asked for may have been taken.
    pub(in crate::store) async fn take(&self, wants: &[Want<'_>], wait: Duration) -> Result<Standings, Unavailable> {
        let started = tokio::time::Instant::now();
        if !self.is_cluster() || wants.iter().all(|want| want.ask.whom == wants[0].ask.whom) {
            return self.take_together(wants, wait).await;
        }
        let mut standings: Standings = wants.iter().map(|want| Standing::full(&want.ask.limit.quota)).collect();
        let mut asked: SmallVec<[usize; 4]> = SmallVec::new();
        for (first, want) in wants.iter().enumerate() {
            if asked.contains(&first) {
                continue;
            }
            let group: SmallVec<[usize; 4]> =
                (first..wants.len()).filter(|at| wants[*at].ask.whom == want.ask.whom).collect();
            let together: SmallVec<[Want<'_>; 4]> = group.iter().map(|at| wants[*at]).collect();
            let told = self.take_together(&together, wait.saturating_sub(started.elapsed())).await?;
            group.iter().zip(&told).for_each(|(at, told)| standings[*at] = *told);
            if told.iter().any(|standing| standing.granted == 0) {
                for at in asked {
                    let back = Want { permits: -i64::from(standings[at].granted), ..wants[at] };
                    // Who cannot be given back has one permit less: it errs on the safe side.
                    let left = wait.saturating_sub(started.elapsed());
                    if let Ok(told) = self.take_together(&[back], left).await {
                        standings[at] = told[0];
                    }
                    standings[at].granted = 0;
                }
                break;
            }
            asked.extend(group);
        }
        Ok(standings)
    }

    async fn take_together(&self, wants: &[Want<'_>], wait: Duration) -> Result<Standings, Unavailable> {
        let mut call = TAKE.call(wants.len());
        for want in wants {
            call.arg(want.ask.redis_key());
        }
        for want in wants {
            let Quota { step, room, penalty } = &want.ask.limit.quota;
            let penalty = penalty
                .as_ref()
                .map_or((0, 0, 0), |penalty| (penalty.after, micros(penalty.first), micros(penalty.longest)));
            // Whole steps: as many as fit in nanoseconds.
            let step_micros = micros(*step);
            call.arg(want.permits).arg(step_micros).arg(room / step * step_micros);
            call.arg(penalty.0).arg(penalty.1).arg(penalty.2);
        }
        let answer = self.run_limits(&TAKE, &call, wait).await?;
        let Value::Array(numbers) = answer else { return Err(Unavailable) };
        let number = |value: &Value| if let Value::Int(number) = value { u64::try_from(*number).ok() } else { None };
        let numbers: Option<SmallVec<[u64; 8]>> = numbers.iter().map(number).collect();
        let numbers = numbers.filter(|numbers| numbers.len() == 4 * wants.len()).ok_or(Unavailable)?;
        Ok(numbers.chunks_exact(4).map(standing).collect())
    }
}

fn standing(numbers: &[u64]) -> Standing {
    Standing {
        granted: u32::try_from(numbers[0]).unwrap_or(u32::MAX),
        remaining: numbers[1],
        retry: Duration::from_micros(numbers[2]),
        reset: Duration::from_micros(numbers[3]),
    }
}

/// Rounded up: a step in Redis is never shorter than it was written.
fn micros(nanos: u64) -> u64 {
    nanos.div_ceil(1000)
}
