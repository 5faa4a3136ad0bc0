//! Ten thousand forged and misplaced tokens in headers, cookies and queries: nobody gets in, nothing breaks, and the log says
//! why without them.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::support::gateway::gateway;
use crate::support::reply::{ok, stream};
use crate::support::soon;
use crate::support::tokens::{SECRET, bearer};
use crate::support::upstream;

const REQUESTS: usize = 10_000;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    /// What may stand in a header and is no end of a cookie.
    fn byte(&mut self) -> u8 {
        loop {
            let byte = [b'!' + self.roll(94) as u8, 0x80 + self.roll(128) as u8][self.roll(8) / 7];
            if byte != b';' {
                return byte;
            }
        }
    }

    /// Noise, or one of these with a byte of it changed or cut away.
    fn forge(&mut self, good: &[String]) -> Vec<u8> {
        if self.roll(4) == 0 {
            return (0..self.roll(80)).map(|_| self.byte()).collect();
        }
        let token = good[self.roll(good.len())].as_bytes();
        let mut forged = token.to_vec();
        while forged == token {
            let at = self.roll(token.len());
            match self.roll(8) {
                0 => forged.truncate(at),
                1 => {
                    forged.remove(at);
                }
                _ => forged[at] = self.byte(),
            }
        }
        forged
    }
}

/// What of a token nobody may read: its parts, but for what is so short that it may be anything.
fn parts(token: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(token).into_owned();
    text.split('.').filter(|part| part.len() >= 12).map(str::to_owned).collect()
}

/// A request's head, and its answer: the status, and all that it says.
async fn answer(socket: &mut BufReader<TcpStream>, request: &[u8]) -> (u16, String) {
    socket.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap_or_else(|error| panic!("{error} after {request:?}")));
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    socket.read_exact(&mut body).await.unwrap();
    (head[9..12].parse().unwrap(), head + &String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn ten_thousand_forged_tokens_get_nobody_in() {
    let rules = upstream::grpc("rules.v1.Rules")
        .unary("Bound", |_| ok(json!({ "id": "u1" })))
        .unary("Thing", |asked| ok(asked.clone()))
        .server_stream("Watch", |asked| stream([asked.clone()]));
    let rules = rules.start().await;
    let config = format!(
        "auth:
  jwt: {{ secret: {SECRET}, leeway: 0s }}
  sources: [bearer, {{ cookie: at }}]
  connect_tokens: {{ ws-connect: {{ path: /ws-token }} }}
sessions:
  login: rules.v1.Rules/Bound
  access_token: {{ field: text, cookie: at }}
  refresh_token: {{ field: parent, cookie: rt }}
  in_body: keep
  automatic: true
  issue: {{ claims: {{ sub: id }}, refresh: {{ path: /refresh }}, logout: {{ path: /logout }} }}
methods:
  rules.v1.Rules/Bound: {{ auth: public }}
  rules.v1.Rules/Watch: {{ auth: {{ connect_token: ws-connect }} }}"
    );
    let gateway = gateway().descriptors("rules").upstream("rules", &rules).config(&config).start().await;
    let login = gateway.post("/v1/bound/7", &json!({})).await.status(200).value();
    let text = |name: &str| login[name].as_str().unwrap().to_owned();
    let (access, refresh) = (text("text"), text("parent"));
    let handed = gateway.get("/ws-token").header("authorization", &bearer(&access)).await;
    let connect = handed.status(200).value()["token"].as_str().unwrap().to_owned();

    let good = [access.clone(), refresh.clone(), connect.clone()];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut socket = BufReader::new(TcpStream::connect(gateway.address()).await.unwrap());
    let mut sent = Vec::new();
    for at in 0..REQUESTS {
        let forged = dice.forge(&good);
        let (method, path) =
            [("GET", "/v1/things/7"), ("POST", "/refresh"), ("POST", "/logout"), ("GET", "/ws-token")][dice.roll(4)];
        // A good token in another's place is as bad as a forged one.
        let misplaced = |places: [&String; 2]| places[at % 2].clone().into_bytes();
        let (name, value) = match (dice.roll(5), path) {
            (0, "/refresh") => ("cookie: rt=", misplaced([&access, &connect])),
            (0, _) => ("authorization: Bearer ", misplaced([&refresh, &connect])),
            (1, "/refresh") | (2, _) => ("cookie: rt=", forged),
            (1, _) => ("authorization: Bearer ", forged),
            (3, "/refresh") => ("cookie: at=x; rt=", forged),
            (3, _) => ("cookie: at=", misplaced([&refresh, &connect])),
            _ => ("cookie: at=", forged),
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{name}").into_bytes();
        request.extend_from_slice(&value);
        request.extend_from_slice(b"\r\n\r\n");
        let (status, said) = soon("an answer", answer(&mut socket, &request)).await;
        assert_eq!(status, 401, "{}", String::from_utf8_lossy(&request));
        let secrets = parts(&value);
        assert!(!secrets.iter().any(|part| said.contains(part)), "{said}");
        sent.push((path, secrets));
    }
    // Upgrades as well; a socket that opened would answer 101.
    for _ in 0..500 {
        let forged: String = dice.forge(&good).iter().map(|byte| format!("%{byte:02x}")).collect();
        let request = format!(
            "GET /v1/things/7:watch?token={forged} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        assert_eq!(soon("an answer", answer(&mut socket, request.as_bytes())).await.0, 401, "{request}");
        sent.push(("/v1/things/7:watch", parts(forged.as_bytes())));
    }
    rules.saw("Thing").times(0);
    rules.saw("Watch").times(0);
    // All that time nothing has ended for who has the good ones.
    gateway.get("/v1/things/7").header("authorization", &bearer(&access)).await.status(200);
    gateway.post("/refresh", &json!({})).header("cookie", &format!("rt={refresh}")).await.status(200);
    let lines = gateway.logged(REQUESTS + 504).await;
    let refused: Vec<_> = lines.iter().filter(|line| line["status"] == 401).collect();
    // One line each, in their order.
    assert_eq!((lines.len(), refused.len()), (REQUESTS + 504, sent.len()));
    let good: Vec<_> = good.iter().flat_map(|token| parts(token.as_bytes())).collect();
    for (line, (path, secrets)) in refused.into_iter().zip(sent) {
        let text = line.to_string();
        assert_eq!(line["path"], path, "{text}");
        let cause = line["cause"].as_str().unwrap_or_default();
        assert!(!cause.is_empty() && cause.len() < 200 && !cause.contains('\n'), "{text}");
        assert!(!good.iter().chain(&secrets).any(|part| text.contains(part)), "{text}");
    }
}
