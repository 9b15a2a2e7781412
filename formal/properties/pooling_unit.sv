  // The largest of a window, in every column: no message of the window is larger (any one of them
  // may be marked), and any value that comes out was in it. Windows are as long as they like.
  reg f_any_window = 0;  // a first message has come
  reg f_whole = 0;       // the window so far is complete, and has not been sent
  always @(posedge clk) begin
    if (acc__val & acc__rdy & acc__msg.pool_first) f_any_window <= 1;
    if (reset) f_whole <= 0;
    else if (acc__val & acc__rdy) f_whole <= acc__msg.pool_last;
    else if (pooled__val & pooled__rdy) f_whole <= 0;
  end
  // None lost, none invented: a message for each window, and it stays while it waits.
  always @(*) assert (~f_began | pooled__val == f_whole);

  (* anyseq *) wire f_marks;
  genvar f_column;
  generate
    for (f_column = 0; f_column < COLUMNS; f_column = f_column + 1) begin : f_pool
      localparam NBITS = $bits(acc__msg.acc) / COLUMNS;
      wire signed [NBITS-1:0] in = acc__msg.acc[f_column*NBITS +: NBITS];
      wire signed [NBITS-1:0] out = pooled__msg.acc[f_column*NBITS +: NBITS];
      (* anyconst *) reg signed [NBITS-1:0] value;
      reg value_seen = 0, has_marked = 0;
      reg signed [NBITS-1:0] marked;
      always @(posedge clk)
        if (acc__val & acc__rdy) begin
          value_seen <= (value_seen & ~acc__msg.pool_first) | in == value;
          has_marked <= (has_marked & ~acc__msg.pool_first) | f_marks;
          if (f_marks) marked <= in;
        end
      always @(*) begin
        if (has_marked) assert (out >= marked);
        if (f_any_window & out == value) assert (value_seen);
      end
    end
  endgenerate
