// Sums for each last step, in order, with its flags.
  wire [3:0] f_lasts = valid & last;
  wire f_tracks;
  wire [3:0] f_ahead, f_waited;
  wire [2-1:0] f_marked;
  formal_queue #(.W(2), .LATENCY(5)) f_queue (
    .clk, .reset(reset),
    .in(step__val & step__rdy & step__msg.last),
    .in_msg({step__msg.pool_first, step__msg.pool_last}),
    .out(acc__val & acc__rdy),
    .out_msg({acc__msg.pool_first, acc__msg.pool_last}),
    .may(acc__rdy),
    .held(4'(f_lasts[0]) + 4'(f_lasts[1]) + 4'(f_lasts[2]) + 4'(f_lasts[3]) + 4'(acc_val)),
    .tracks(f_tracks), .ahead(f_ahead), .waited(f_waited), .marked(f_marked)
  );
  // Where the marked one is: as many before it as are ahead of it.
  wire [3:0] f_before3 = 4'(acc_val);
  wire [3:0] f_before2 = f_before3 + 4'(f_lasts[3]);
  wire [3:0] f_before1 = f_before2 + 4'(f_lasts[2]);
  wire [3:0] f_before0 = f_before1 + 4'(f_lasts[1]);
  wire [15:0] f_before = {f_before3, f_before2, f_before1, f_before0};
  integer f_i;
  always @(*)
    if (~reset & f_tracks) begin
      for (f_i = 0; f_i < 4; f_i = f_i + 1)
        if (f_lasts[f_i] & f_ahead == f_before[4*f_i +: 4]) begin
          assert (f_marked == {pool_first[f_i], pool_last[f_i]});
          assert (f_waited <= f_i + 1);
        end
      if (acc_val & f_ahead == 0) assert (f_marked == {acc_pool_first, acc_pool_last});
    end
