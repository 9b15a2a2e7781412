// A message for each word that is read, in order, with the settings of that cycle.
  wire f_tracks;
  wire [3:0] f_ahead, f_waited;
  wire [28-1:0] f_marked;
  formal_queue #(.W(28), .LATENCY(2)) f_queue (
    .clk, .reset(reset | ~bus__running),
    .in(read),
    .in_msg({zero_point, lo, hi, at_last_beat}),
    .out(param__val & param__rdy),
    .out_msg({param__msg.zero_point, param__msg.lo, param__msg.hi, param__msg.last}),
    .may(param__rdy),
    .held(4'(read_val) + 4'(val)),
    .tracks(f_tracks), .ahead(f_ahead), .waited(f_waited), .marked(f_marked)
  );
  always @(*)
    if (f_began & ~reset & bus__running & f_tracks) begin
      if (val & f_ahead == 0) assert (f_marked == settings);
      if (read_val & f_ahead == 4'(val)) assert (f_marked == read_settings & f_waited <= 1);
    end
