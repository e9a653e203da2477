//! Every public bound, with its source. "API" is ironmq-v3.md section 9.

use crate::units::Millis;

/// Longest queue name, in bytes. Source: API 3.7 (recommended).
pub const QUEUE_NAME_BYTES_MAX: usize = 255;
/// Longest project id, in bytes: ours; minted ids have 24.
pub const PROJECT_ID_BYTES_MAX: usize = 64;
/// Longest ordering key, in bytes: ours, as SQS message group ids.
pub const ORDERING_KEY_BYTES_MAX: usize = 128;
/// Longest token id, in bytes: ours; minted ids have 16.
pub const TOKEN_ID_BYTES_MAX: usize = 64;
/// Longest name of a project or a token, in bytes: ours.
pub const TOKEN_NAME_BYTES_MAX: usize = 255;
pub const PROJECT_NAME_BYTES_MAX: usize = 255;
/// Longest idempotency key, in bytes: ours, as Stripe's.
pub const RETRY_KEY_BYTES_MAX: usize = 255;
/// Largest body of one message, in bytes: bounded by the request size, hard limit of an entry.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Messages per post: ours; bounds the work of one command (the API names the request size alone).
pub const POST_COUNT_MAX: usize = 1000;
/// Reservations, and messages peeked, per request; the reserves of a transaction share it.
/// Source: API.
pub const RESERVE_COUNT_MAX: u32 = 100;
/// Bytes of bodies one reserve, one peek, or all reserves of a transaction hand out: ours. A reserve
/// gives fewer messages rather than more bytes, and there is always room for one.
pub const RESERVE_BYTES_MAX: u64 = 1 << 20;
const _: () = assert!(BODY_BYTES_MAX as u64 <= RESERVE_BYTES_MAX, "any one message can be given");
/// Ids per batch delete. Source: API.
pub const DELETE_COUNT_MAX: usize = 100;
/// Commands per transaction: ours, as SQS batches times ten.
pub const TRANSACTION_COUNT_MAX: usize = 100;
/// Messages one request may move to a dead-letter queue; the reserves of a transaction share it.
/// Source: design 3.
pub const DEAD_LETTER_MOVES_MAX: u32 = 1000;
/// Default and largest reservation time. Source: API; least is 1 s (official suites use 3 s).
pub const MESSAGE_TIMEOUT_DEFAULT: Millis = Millis::from_secs(60);
pub const MESSAGE_TIMEOUT_MIN: Millis = Millis::from_secs(1);
pub const MESSAGE_TIMEOUT_MAX: Millis = Millis::from_secs(86_400);
/// Default and largest life of a message. Source: API; least is 1 s.
pub const MESSAGE_EXPIRATION_DEFAULT: Millis = Millis::from_secs(604_800);
pub const MESSAGE_EXPIRATION_MIN: Millis = Millis::from_secs(1);
pub const MESSAGE_EXPIRATION_MAX: Millis = Millis::from_secs(2_592_000);
/// Longest delay of a post or a release. Source: API.
pub const DELAY_MAX: Millis = Millis::from_secs(604_800);
/// Longest long poll. Source: API 4.2.
pub const WAIT_MAX: Millis = Millis::from_secs(30);
/// Reservations before a message is dead. Source: API section 8.
pub const MAX_RESERVATIONS_DEFAULT: u32 = 10;
pub const MAX_RESERVATIONS_MAX: u32 = 1000;
/// Queues listed per page. Source: API 3.6.
pub const PER_PAGE_DEFAULT: u32 = 30;
pub const PER_PAGE_MAX: u32 = 100;
/// How long the outcome of a keyed request is kept, in log time. Source: design 3.
pub const RETRY_KEY_LIFE: Millis = Millis::from_secs(86_400);
/// Outcomes of keyed creations and deletions of projects that are kept, over all projects: ours.
pub const PROJECT_RETRY_KEYS_MAX: u64 = 100_000;
/// Due timers settled by one batch at most; what is left holds the batch's time back. Design 3.
pub const TIMERS_PER_BATCH_MAX: usize = 200;
/// Rows of ended stores removed by one `Sweep` at most. Design 3.
pub const SWEEP_ROWS_MAX: usize = 2000;
/// Bytes of commands in one log entry at most. Design 3.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;
/// Bytes of one encoded command at most: a larger one fits neither a message between nodes nor the
/// smallest segment of the log.
pub const COMMAND_BYTES_MAX: usize = 6 << 20;
/// Default request size of the doors, in bytes. Source: API 4.1.
pub const REQUEST_BYTES_DEFAULT: usize = 256 << 10;
/// Subject of a queue's position in time: expiry is rounded up to this. One bucket row per
/// queue and second, instead of one row per message.
pub const EXPIRY_BUCKET: Millis = Millis::from_secs(1);
