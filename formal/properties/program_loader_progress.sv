// Words are taken when nothing runs, or all that runs is at rest.
  formal_progress #(.N(4)) f_progress (
    .clk, .reset, .can(prog__val & (~running | idle)), .moves(prog__rdy)
  );
