-- Which buyers had a bid in a call's auction: how a buyer finds the receipts of calls it did not win. Calls' ids ascend in time.
CREATE TABLE auction_buyers (
    buyer  BLOB NOT NULL CHECK (length(buyer) = 16),
    call   BLOB NOT NULL CHECK (length(call) = 16),
    PRIMARY KEY (buyer, call)
) STRICT, WITHOUT ROWID;
