// An output for each value, with its ends; and what is not looked up, as it came.
  localparam Y = $bits(value__msg.y);
  wire f_tracks;
  wire [3:0] f_ahead, f_waited;
  wire [Y+2:0] f_marked;
  wire f_looks_up = f_marked[Y+2];
  formal_queue #(.W(Y + 3), .LATENCY(2)) f_queue (
    .clk, .reset(reset),
    .in(value__val & value__rdy),
    .in_msg({value__msg.looks_up, value__msg.y, value__msg.last, value__msg.ends_layer}),
    .out(out__val & out__rdy),
    .out_msg({
      f_looks_up, f_looks_up ? f_marked[Y+1:2] : out__msg.y, out__msg.last, out__msg.ends_layer
    }),
    .may(out__rdy),
    .held(4'(val) + 4'(out_val)),
    .tracks(f_tracks), .ahead(f_ahead), .waited(f_waited), .marked(f_marked)
  );
  always @(*)
    if (~reset & f_tracks) begin
      if (f_ahead == 4'(out_val))
        assert (val & f_waited <= 1 & f_marked == {looks_up, y, last, ends_layer});
      else begin
        assert (f_ahead == 0 & f_marked[1:0] == {out_last, out_ends_layer});
        assert (f_looks_up | f_marked[Y+1:2] == out_y);
      end
    end
