//! Where the exchange's state lives: the durable store.
