//! Message ids, reservation ids and tokens.
#![no_main]

bessemer_fuzz::target!(|input| {
    bessemer_model::fuzz::ids(input);
    bessemer_service::fuzz::token(input);
});
