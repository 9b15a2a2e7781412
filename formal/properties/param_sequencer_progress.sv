// Whatever the descriptors say: a message comes when it is taken.
  formal_progress #(.N(5)) f_progress (
    .clk, .reset, .can(bus__running & param__rdy), .moves(param__val)
  );
  always @(*) if (f_began & ~reset) assert (state != 3);
