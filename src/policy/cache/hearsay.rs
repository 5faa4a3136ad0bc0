//! Hearsay: what one gateway forgets, all do. First the names of the generations in Redis change, so that nobody finds old
//! replies there any more; then the others are told, so that they forget what they have here.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use super::generation::{CELLS, Cell, Generation, Generations, Untold};
use super::shared;
use crate::store::{Event, Store, Unavailable};

/// What gateways tell each other.
const TOPIC: &str = "cache";
/// From one attempt to the next, while the Redis does not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// What comes before a method's name: who speaks, and the length of the name.
const HEAD: usize = 8 + 2;
/// Nobody says more than that.
const LONGEST: usize = 4096;

impl Generations {
    /// Keeps what is forgotten the same as everywhere, forever; begun before the first call.
    pub fn follow(self: Arc<Self>, store: Arc<Store>) -> impl Future<Output = ()> + Send {
        let mut said = store.listen();
        if store.redis().is_some() {
            self.share();
        }
        let mut me = [0; 8];
        // Without randomness two gateways might take each other for themselves: then they hear nothing of each other. One that is
        // alone needs no name, and none of the memory and time in which randomness of that quality is first gathered.
        let named = store.redis().is_some() && rand::fill(&mut me).is_ok();
        async move {
            let hear = async {
                loop {
                    match said.recv().await {
                        Ok(Event::Told { topic, payload }) if &*topic == TOPIC => match read(&payload) {
                            Some((who, ..)) if named && who == me => {}
                            Some((_, rpc, cells)) if cells.is_empty() => self.heard(rpc, None),
                            Some((_, rpc, cells)) => cells.into_iter().for_each(|cell| self.heard(rpc, Some(cell))),
                            None => tracing::warn!(bytes = payload.len(), "what was said of kept replies is not ours"),
                        },
                        Ok(Event::Told { .. } | Event::Lost) => {}
                        // What was said meanwhile was not heard.
                        Ok(Event::Connected) | Err(RecvError::Lagged(_)) => self.forget_all(),
                        Err(RecvError::Closed) => return,
                    }
                }
            };
            let tell = async {
                loop {
                    let mut told = true;
                    for generation in self.behind() {
                        told &= tell(&store, me, &generation).await.is_ok();
                    }
                    match told {
                        true => self.news().await,
                        false => sleep(PAUSE).await,
                    }
                }
            };
            tokio::join!(hear, tell);
        }
    }
}

/// Tells all gateways what was forgotten of a method.
async fn tell(store: &Store, me: [u8; 8], generation: &Generation) -> Result<(), Unavailable> {
    let Some(redis) = store.redis() else { return Ok(()) };
    let untold = generation.take();
    let cells: Vec<Cell> = match &untold {
        Untold::Nothing => Vec::new(),
        Untold::Whole => Vec::new(),
        Untold::Cells(cells) => cells.iter().copied().collect(),
    };
    let told = async {
        shared::rename(redis, &generation.rpc, &cells).await?;
        store.tell(TOPIC, &written(me, &generation.rpc, &cells)).await
    };
    let told = if untold == Untold::Nothing { Ok(()) } else { told.await };
    match told {
        Ok(()) => generation.told(),
        Err(Unavailable) => generation.tell_later(untold),
    }
    told
}

/// Who speaks, of which method, of which cells; of none: of all its replies.
fn written(me: [u8; 8], rpc: &str, cells: &[Cell]) -> Vec<u8> {
    let mut text = me.to_vec();
    text.extend(u16::try_from(rpc.len()).unwrap_or(0).to_le_bytes());
    text.extend(rpc.as_bytes());
    cells.iter().for_each(|cell| text.extend(cell.to_le_bytes()));
    text
}

fn read(text: &[u8]) -> Option<([u8; 8], &str, Vec<Cell>)> {
    let (head, rest) = text.split_at_checked(HEAD).filter(|_| text.len() <= LONGEST)?;
    let (me, length) = head.split_first_chunk()?;
    let length = u16::from_le_bytes(length.try_into().ok()?);
    let (rpc, cells) = rest.split_at_checked(length.into())?;
    let (cells, odd) = cells.as_chunks();
    let cells: Vec<Cell> = cells.iter().map(|cell| u16::from_le_bytes(*cell)).collect();
    let sound = odd.is_empty() && cells.iter().all(|cell| *cell < CELLS);
    sound.then_some((*me, std::str::from_utf8(rpc).ok()?, cells))
}

#[cfg(test)]
mod tests {
    use super::{read, written};

    #[test]
    fn what_is_said_is_read_and_nothing_else() {
        let me = *b"12345678";
        assert_eq!(read(&written(me, "a.B/C", &[])), Some((me, "a.B/C", vec![])));
        let said = written(me, "a.B/C", &[7, 4095]);
        assert_eq!(read(&said), Some((me, "a.B/C", vec![7, 4095])));
        for wrong in [&said[..said.len() - 1], &said[..9], &said[..12], b"", &written(me, "a", &[4096]), &[0xff; 64]] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        assert_eq!(read(&written(me, "a.B/C", &[0; 4096])), None);
    }
}
