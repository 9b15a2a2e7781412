// A step for each pixel that is used, with its weights and flags; none for another.
  localparam W = $bits(pixel__msg.w) + $bits(pixel__msg.idx) + 6;
  wire f_tracks;
  wire [3:0] f_ahead, f_waited;
  wire [W-1:0] f_marked;
  formal_queue #(.W(W), .LATENCY(1)) f_queue (
    .clk, .reset(reset),
    .in(pixel__val & pixel__rdy & pixel__msg.used),
    .in_msg({
      pixel__msg.w, pixel__msg.idx, pixel__msg.load, pixel__msg.keep, pixel__msg.first,
      pixel__msg.last, pixel__msg.pool_first, pixel__msg.pool_last
    }),
    .out(step__val & step__rdy),
    .out_msg({
      step__msg.w, step__msg.idx, step__msg.load, step__msg.keep, step__msg.first,
      step__msg.last, step__msg.pool_first, step__msg.pool_last
    }),
    .may(step__rdy),
    .held(4'(step_val)),
    .tracks(f_tracks), .ahead(f_ahead), .waited(f_waited), .marked(f_marked)
  );
  always @(*)
    if (~reset & f_tracks)
      assert (f_marked == {w, idx, load, keep, first, last, pool_first, pool_last});
