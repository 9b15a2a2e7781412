// Whatever the descriptors say: outputs are taken when results are.
  formal_progress #(.N(6)) f_progress (
    .clk, .reset, .can(bus__running & out__val & result__rdy), .moves(out__rdy)
  );
