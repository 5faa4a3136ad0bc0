//! Generations: how often a method's replies were forgotten, all of them or those to requests that say the same in some
//! field. They are part of the keys, so that to forget is to count. They outlive what is kept, reloads included: a call
//! that began before one still makes the right replies forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Values of a field are told apart by so many numbers: two that share one are forgotten together.
pub(super) const CELLS: u16 = 4096;

/// Where the replies to requests that say the same in some fields are counted.
pub type Cell = u16;

/// The generations of all methods.
#[derive(Default)]
pub struct Generations {
    methods: Mutex<HashMap<Box<str>, Arc<Generation>>>,
    /// There are other gateways to tell.
    shared: AtomicBool,
    /// Some method's replies were forgotten, which others do not know yet.
    news: Notify,
}

/// The generations of one method.
pub(super) struct Generation {
    /// `pkg.Service/Method`
    pub(super) rpc: Box<str>,
    whole: AtomicU64,
    cells: Box<[AtomicU64]>,
    /// What others have not been told.
    untold: Mutex<Untold>,
    /// There is something, or it is being told: what others have kept may be what was forgotten here.
    behind: AtomicBool,
}

/// What was forgotten here and nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Untold {
    #[default]
    Nothing,
    /// Replies in these cells.
    Cells(BTreeSet<Cell>),
    /// All replies.
    Whole,
}

impl Generations {
    /// The generations of a method.
    pub(super) fn of(&self, rpc: &str) -> Arc<Generation> {
        let mut methods = self.methods.lock();
        methods.entry(rpc.into()).or_insert_with(|| Generation::new(rpc)).clone()
    }

    /// From here on what is forgotten is told to others.
    pub(super) fn share(&self) {
        self.shared.store(true, Ordering::Release);
    }

    /// Forgets replies of a method, here and then elsewhere: those in a cell, or all.
    pub(super) fn forget(&self, generation: &Generation, cell: Option<Cell>) {
        if self.shared.load(Ordering::Acquire) {
            generation.untold.lock().add(cell, &generation.behind);
            self.news.notify_one();
        }
        generation.advance(cell);
    }

    /// Forgets what another gateway has forgotten.
    pub(super) fn heard(&self, rpc: &str, cell: Option<Cell>) {
        let generation = self.methods.lock().get(rpc).cloned();
        generation.inspect(|generation| generation.advance(cell));
    }

    /// Forgets everything here: others may have forgotten anything.
    pub fn forget_all(&self) {
        self.methods.lock().values().for_each(|generation| generation.advance(None));
    }

    /// Waits until there may be something to tell.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// The methods of which others have to be told something.
    pub(super) fn behind(&self) -> Vec<Arc<Generation>> {
        self.methods.lock().values().filter(|generation| generation.is_behind()).cloned().collect()
    }
}

impl Generation {
    fn new(rpc: &str) -> Arc<Self> {
        Arc::new(Self {
            rpc: rpc.into(),
            whole: AtomicU64::new(0),
            cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
            untold: Mutex::default(),
            behind: AtomicBool::new(false),
        })
    }

    /// A number that was never before, for replies in all of these cells.
    pub(super) fn number(&self, cells: &[Cell]) -> u64 {
        let of = |cell: &Cell| self.cell(*cell).load(Ordering::Acquire);
        // Each only grows, and so does their sum.
        self.whole.load(Ordering::Acquire) + cells.iter().map(of).sum::<u64>()
    }

    /// What others have kept may be asked for.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    /// Takes what others have to be told.
    pub(super) fn take(&self) -> Untold {
        std::mem::take(&mut *self.untold.lock())
    }

    /// They were told.
    pub(super) fn told(&self) {
        let untold = self.untold.lock();
        self.behind.store(*untold != Untold::Nothing, Ordering::Release);
    }

    /// They could not be told.
    pub(super) fn tell_later(&self, before: Untold) {
        let mut untold = self.untold.lock();
        match before {
            Untold::Nothing => {}
            Untold::Whole => *untold = Untold::Whole,
            Untold::Cells(cells) => cells.into_iter().for_each(|cell| untold.add(Some(cell), &self.behind)),
        }
    }

    fn cell(&self, cell: Cell) -> &AtomicU64 {
        &self.cells[usize::from(cell % CELLS)]
    }

    fn advance(&self, cell: Option<Cell>) {
        cell.map_or(&self.whole, |cell| self.cell(cell)).fetch_add(1, Ordering::AcqRel);
    }
}

impl Untold {
    /// More of it than this is told as all.
    const MOST: usize = 256;

    fn add(&mut self, cell: Option<Cell>, behind: &AtomicBool) {
        behind.store(true, Ordering::Release);
        match (&mut *self, cell) {
            (Self::Whole, _) => {}
            (_, None) => *self = Self::Whole,
            (Self::Nothing, Some(cell)) => *self = Self::Cells(BTreeSet::from([cell])),
            (Self::Cells(cells), Some(_)) if cells.len() >= Self::MOST => *self = Self::Whole,
            (Self::Cells(cells), Some(cell)) => drop(cells.insert(cell)),
        }
    }
}
