// Whatever the descriptor says: words are taken while the port is free and the last image is read.
  formal_progress #(.N(5)) f_progress (
    .clk, .reset, .can(running & image__val & ~hold & ~full & ~close), .moves(image__rdy)
  );
