//! A first tour of the booking system, as lines for a shell.

use super::Login;

/// Lines for a POSIX shell with curl and sed that go through a purchase: register, log in, list events, reserve seats,
/// book, pay, see the booking. They work when pasted, one by one or all at once, and again; the rest is comments.
///
/// `port` is where the gateway listens on loopback, `admin` its admin port, `login` an account that is there already.
pub fn walkthrough(port: u16, admin: u16, login: Option<Login>) -> String {
    let account = match login {
        Some(Login { email, password }) => {
            format!("# You can also log in as {email} with the password {password}.\n")
        }
        None => String::new(),
    };
    format!(
        r#"# The booking system runs at http://127.0.0.1:{port}. Paste these lines to buy two tickets:
# (Its health: http://127.0.0.1:{port}/health/detailed; the gateway's own state: http://127.0.0.1:{admin}/)
{account}
API=http://127.0.0.1:{port}/api/v1
JSON='content-type: application/json'
ME="me-$$-$(date +%s)@example.com"
show() {{ tee -a /dev/stderr | sed -E 's/.*"'"$1"'": *"([^"]*)".*/\1/'; echo >&2; }}

# register, and log in
curl -sS "$API/auth/register" -H "$JSON" -d '{{"email":"'"$ME"'","password":"correct horse","firstName":"Me"}}'; echo
TOKEN=$(curl -sS "$API/auth/login" -H "$JSON" -d '{{"email":"'"$ME"'","password":"correct horse"}}' | show accessToken)
AUTH="authorization: Bearer $TOKEN"

# list events, and reserve two seats
EVENT=$(curl -sS "$API/events?category=music&pageSize=1" | show eventId)
RESERVATION=$(curl -sS "$API/events/${{EVENT}}/tickets:reserve" -H "$AUTH" -H "$JSON" -d '{{"quantity":2}}' | show reservationId)

# book, pay, and see the booking
BOOKING=$(curl -sS "$API/bookings" -H "$AUTH" -H "$JSON" -d '{{"reservationId":"'"$RESERVATION"'"}}' | show bookingId)
curl -sS "$API/payments" -H "$AUTH" -H "$JSON" -d '{{"bookingId":"'"$BOOKING"'","idempotencyKey":"for-'"$BOOKING"'","cardToken":"tok_visa"}}'; echo
curl -sS "$API/bookings/${{BOOKING}}" -H "$AUTH"; echo
"#
    )
}
