use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};

use super::{Coding, compress, is_long, pack_in_turns};
use crate::body::Body;
use crate::error::Error;

const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

#[test]
fn what_is_compressed_comes_back() {
    let text = "the quick brown fox ".repeat(200).into_bytes();
    for coding in ALL {
        let packed = compress(coding, &text).unwrap();
        assert!(packed.len() < text.len() / 10, "{coding:?}: {}", packed.len());
        assert_eq!(coding.decode(&packed, text.len()).unwrap(), text);
        assert_eq!(compress(coding, b"short"), None);
        assert!(matches!(coding.decode(b"not compressed at all", 100), Err(Error::BadRequest { .. })), "{coding:?}");
        assert!(matches!(coding.decode(&packed[..packed.len() - 9], 1 << 20), Err(Error::BadRequest { .. })));
    }
}

#[tokio::test]
async fn a_long_answer_is_compressed_in_turns() {
    let text = Bytes::from("the quick brown fox ".repeat(50_000));
    for coding in ALL {
        let mut answer = Response::new(Body::full(text.clone()));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(is_long(&answer));
        let mut packing = pin!(pack_in_turns(answer, Some(coding.name())));
        let mut turns = 0;
        let packed = poll_fn(|cx| {
            turns += 1;
            packing.as_mut().poll(cx)
        })
        .await;
        assert!(turns > text.len() / (64 << 10), "{coding:?}: {turns}");
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], coding.name());
        let packed = packed.into_body().into_bytes().unwrap();
        assert_eq!(coding.decode(&packed, text.len()).unwrap(), text);
    }
}

#[tokio::test]
async fn a_long_message_is_unpacked_in_turns() {
    // What says much, what says little, and what says nothing at all.
    let mut noise = 7_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (noise >> 56) as u8
    })
    .take(1 << 20)
    .collect();
    let text = "the quick brown fox ".repeat(50_000).into_bytes();
    for coding in ALL {
        let twice = [text.clone(), noise.clone(), text.clone()].concat();
        let mut packed =
            vec![(compress(coding, &text).unwrap(), text.clone()), (compress(coding, &twice).unwrap(), twice)];
        if coding == Coding::Gzip {
            let mut nothing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            nothing.try_finish().unwrap();
            packed.push((nothing.finish().unwrap().repeat(50_000), Vec::new()));
        }
        for (packed, plain) in packed {
            let long = packed.len().max(plain.len());
            let mut unpacking = pin!(coding.unpack(packed.into(), plain.len()));
            let mut turns = 0;
            let said = poll_fn(|cx| {
                turns += 1;
                unpacking.as_mut().poll(cx)
            });
            assert!(said.await.unwrap() == plain, "{coding:?}");
            assert!(turns >= long / (32 << 10), "{coding:?}: {turns} turns for {long} bytes");
        }
    }
}

#[test]
fn a_bomb_is_given_up_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    for coding in ALL {
        let bomb = compress(coding, &zeros).unwrap();
        assert!(bomb.len() < 100_000, "{coding:?}: {}", bomb.len());
        assert_eq!(coding.decode(&bomb, 1000), Err(Error::TooLarge { limit: 1000 }));
    }
}

#[test]
fn the_best_liked_coding_wins() {
    for (accepted, coding) in [
        ("", Coding::Identity),
        ("gzip", Coding::Gzip),
        ("deflate, compress", Coding::Identity),
        ("gzip, deflate, br", Coding::Brotli),
        ("gzip, deflate, br, zstd", Coding::Zstd),
        ("GZIP;q=1.0, br;q=0.5", Coding::Gzip),
        ("gzip;q=0, identity", Coding::Identity),
        ("gzip;Q=0", Coding::Identity),
        ("br ; Q=0.5, gzip", Coding::Gzip),
        ("identity;q=1, gzip;q=0.5", Coding::Identity),
        ("*", Coding::Identity),
    ] {
        assert_eq!(Coding::for_body(&HeaderValue::from_static(accepted)), coding, "{accepted}");
    }
    let lists = ["identity,deflate", "br, gzip"].map(HeaderValue::from_static);
    assert_eq!(Coding::for_messages(&lists), Coding::Gzip);
    assert_eq!(Coding::for_messages(&lists[..1]), Coding::Identity);
    assert_eq!(Coding::for_messages([]), Coding::Identity);
}

#[test]
fn a_request_says_one_coding_that_is_known() {
    let body = |sent: &[&'static str]| {
        let encoding = |value: &&'static str| (header::CONTENT_ENCODING, HeaderValue::from_static(value));
        Coding::of_body(&sent.iter().map(encoding).collect::<HeaderMap>()).ok()
    };
    assert_eq!(body(&[]), Some(Coding::Identity));
    assert_eq!(body(&["br"]), Some(Coding::Brotli));
    assert_eq!(body(&["deflate"]), None);
    assert_eq!(body(&["gzip, br"]), None);
    assert_eq!(body(&["gzip", "gzip"]), None);
    assert_eq!(Coding::of_messages(Some(&HeaderValue::from_static("identity"))), Ok(Coding::Identity));
    assert!(Coding::of_messages(Some(&HeaderValue::from_static("br"))).is_err());
}
