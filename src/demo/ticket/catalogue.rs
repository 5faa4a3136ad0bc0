//! The seeded events: forty shows, each on tour through three cities.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::house::House;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When events begin, after midnight UTC.
const EVENING: Duration = Duration::from_secs(19 * 60 * 60);

/// The event that more people want to see than can pay at once.
const HIGH_DEMAND: &str = "evt-007";

/// An event as it is announced.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) event_id: String,
    pub(super) name: String,
    pub(super) category: &'static str,
    pub(super) venue: &'static str,
    pub(super) city: &'static str,
    pub(super) start: SystemTime,
    /// The best seat's price, in minor units.
    pub(super) best_price: i64,
    pub(super) currency: &'static str,
    pub(super) high_demand: bool,
    pub(super) house: House,
}

/// Categories: id, name for people.
pub(super) const CATEGORIES: [(&str, &str); 8] = [
    ("comedy", "Comedy"),
    ("dance", "Dance"),
    ("exhibition", "Exhibitions"),
    ("family", "Family"),
    ("music", "Concerts"),
    ("opera", "Opera"),
    ("sport", "Sport"),
    ("theatre", "Theatre"),
];

const SHOWS: [(&str, &str, i64); 40] = [
    ("music", "Midsummer Night Concert", 6400),
    ("theatre", "The Tempest", 5200),
    ("opera", "La Traviata", 12_800),
    ("comedy", "An Evening of Bad Ideas", 3600),
    ("dance", "Swan Lake", 9600),
    ("family", "The Paper Moon Puppets", 2400),
    ("music", "Aurora: The Farewell Tour", 14_800),
    ("sport", "Cup Final", 8400),
    ("exhibition", "Maps of Places That Never Were", 2000),
    ("theatre", "The Cherry Orchard", 4800),
    ("music", "Goldberg Variations", 5600),
    ("comedy", "Late Trains, Live", 3200),
    ("opera", "The Magic Flute", 11_200),
    ("dance", "Tango at Dusk", 6000),
    ("family", "Captain Teacup Sails Again", 2800),
    ("sport", "City Derby", 7200),
    ("music", "Three Cellos", 4400),
    ("theatre", "Hamlet in Ninety Minutes", 3600),
    ("exhibition", "Light and Steam", 2400),
    ("comedy", "The Improbable Quartet", 4000),
    ("music", "Songs for a Small Room", 3200),
    ("opera", "Carmen", 13_600),
    ("dance", "The Rite of Spring", 8800),
    ("family", "Dinosaurs After Dark", 3200),
    ("sport", "Night Athletics", 5600),
    ("theatre", "A Doll's House", 4800),
    ("music", "Brass on the River", 2800),
    ("comedy", "Complaints Department", 3600),
    ("exhibition", "Two Centuries of Clocks", 2000),
    ("dance", "Flamenco Puro", 6400),
    ("opera", "Eugene Onegin", 10_400),
    ("music", "The Long Goodbye Band", 5200),
    ("theatre", "Waiting for Godot", 4400),
    ("family", "Snow Queen on Ice", 4800),
    ("sport", "Winter Invitational", 6800),
    ("comedy", "Nobody Asked", 3200),
    ("music", "Requiem by Candlelight", 7200),
    ("dance", "Open Floor", 4000),
    ("exhibition", "The Deep Sea, Drawn", 2400),
    ("theatre", "Twelfth Night", 5200),
];

/// Where shows play.
struct Venue {
    name: &'static str,
    city: &'static str,
    currency: &'static str,
    /// Rows, and seats a row, in each section.
    sections: [(usize, usize); 3],
}

const VENUES: [Venue; 6] = [
    Venue { name: "Harbour Hall", city: "Lisbon", currency: "EUR", sections: [(6, 14), (4, 12), (2, 10)] },
    Venue { name: "Old Mint Theatre", city: "Madrid", currency: "EUR", sections: [(5, 12), (3, 10), (2, 8)] },
    Venue { name: "Lantern House", city: "London", currency: "GBP", sections: [(8, 16), (4, 14), (3, 12)] },
    Venue { name: "Seebühne", city: "Zurich", currency: "CHF", sections: [(6, 12), (3, 12), (2, 12)] },
    Venue { name: "Granary Stage", city: "Boston", currency: "USD", sections: [(4, 12), (3, 10), (1, 10)] },
    Venue { name: "Kupfersaal", city: "Leipzig", currency: "EUR", sections: [(5, 14), (3, 12), (2, 10)] },
];

/// Every event, by start. The first began yesterday; from tomorrow on there is one each evening.
pub(super) fn events(now: SystemTime) -> Vec<Announced> {
    let today = UNIX_EPOCH + DAY * u32::try_from(days(now)).unwrap_or(u32::MAX);
    (0..=3 * SHOWS.len())
        .map(|number| {
            let (category, name, best_price) = SHOWS[number.wrapping_sub(1) % SHOWS.len()];
            let venue = &VENUES[(number + number / SHOWS.len()) % VENUES.len()];
            let event_id = format!("evt-{number:03}");
            let evening = u32::try_from(number).unwrap_or(u32::MAX);
            let start = if number == 0 { today - DAY + EVENING } else { today + DAY * evening + EVENING };
            Announced {
                name: name.to_owned(),
                category,
                venue: venue.name,
                city: venue.city,
                start,
                best_price,
                currency: venue.currency,
                high_demand: event_id == HIGH_DEMAND,
                house: House::new(venue.sections),
                event_id,
            }
        })
        .collect()
}

fn days(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs()
}
