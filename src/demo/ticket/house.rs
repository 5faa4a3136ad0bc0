//! Houses: which seats there are, and what they cost.

/// A row of seats.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) section: &'static str,
    pub(super) name: char,
    /// Index of its first seat.
    pub(super) first: usize,
    pub(super) seats: usize,
    /// What a seat costs, in percent of the best.
    percent: i64,
}

/// The seats of a house, counted from the front.
#[derive(Debug)]
pub(super) struct House {
    pub(super) rows: Vec<Row>,
    pub(super) seats: usize,
}

/// Parts of every house, front to back: name, share of the best seat's price in percent.
pub(super) const SECTIONS: [(&str, i64); 3] = [("stalls", 100), ("circle", 75), ("balcony", 50)];

impl House {
    /// A house with so many rows of so many seats in each section.
    pub(super) fn new(sections: [(usize, usize); 3]) -> Self {
        let mut rows = Vec::new();
        let mut first = 0;
        for ((section, percent), (count, seats)) in SECTIONS.into_iter().zip(sections) {
            for name in ('A'..='Z').skip(rows.len()).take(count) {
                rows.push(Row { section, name, first, seats, percent });
                first += seats;
            }
        }
        Self { rows, seats: first }
    }

    /// The row of a seat, and the seat's number in it from 1.
    pub(super) fn locate(&self, seat: usize) -> (&Row, usize) {
        let row = &self.rows[self.rows.partition_point(|row| row.first <= seat) - 1];
        (row, seat - row.first + 1)
    }

    /// The seat that people call `A12`.
    pub(super) fn seat(&self, name: &str) -> Option<usize> {
        let mut letters = name.chars();
        let letter = letters.next()?;
        let digits = letters.as_str();
        let row = self.rows.iter().find(|row| row.name == letter)?;
        let number: usize = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        (1..=row.seats).contains(&number).then(|| row.first + number - 1)
    }
}

impl Row {
    /// What a seat of this row costs, of a best price.
    pub(super) fn price(&self, best: i64) -> i64 {
        best * self.percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seat_has_one_name() {
        let house = House::new([(3, 12), (2, 10), (1, 8)]);
        assert_eq!(house.seats, 64);
        for seat in 0..house.seats {
            let (row, number) = house.locate(seat);
            assert_eq!(house.seat(&format!("{}{number}", row.name)), Some(seat));
        }
        for wrong in ["", "A", "A0", "A13", "Z1", "A+1", "AA", "É1"] {
            assert_eq!(house.seat(wrong), None, "{wrong}");
        }
        assert_eq!(house.seat("F8").map(|seat| house.locate(seat).0.price(4000)), Some(2000));
    }
}
