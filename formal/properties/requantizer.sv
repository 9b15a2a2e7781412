// An output for each beat.
  wire f_beat = param__val & param__rdy;
  wire f_tracks;
  wire [3:0] f_ahead, f_waited;
  wire f_marked;
  wire [3:0] f_held =
    4'(valid[0]) + 4'(valid[1]) + 4'(valid[2]) + 4'(valid[3]) + 4'(valid[4]) + 4'(valid[5])
    + 4'(valid[6]) + 4'(valid[7]) + 4'(valid[8]) + 4'(valid[9]) + 4'(valid[10]);
  formal_queue #(.W(1), .LATENCY(11)) f_beats (
    .clk, .reset,
    .in(f_beat), .in_msg(1'b0), .out(out__val & out__rdy), .out_msg(1'b0), .may(out__rdy),
    .held(f_held), .tracks(f_tracks), .ahead(f_ahead), .waited(f_waited), .marked(f_marked)
  );
  integer f_i;
  reg [3:0] f_before;
  always @(*) begin
    if (f_tracks) assert (~f_marked);
    // From the last stage to the first: as many are before the marked one as are ahead of it.
    f_before = 0;
    for (f_i = 10; f_i >= 0; f_i = f_i - 1) begin
      if (~reset & f_tracks & valid[f_i] & f_ahead == f_before) assert (f_waited <= f_i + 1);
      f_before = f_before + 4'(valid[f_i]);
    end
  end

// Beats for each vector, in order: beat i of it sees columns i * LANES and up, and zeros past the
// last column. A vector leaves with its last beat.
  wire f_tracks_vector;
  wire [3:0] f_ahead_vector, f_waited_vector;
  wire [COLUMNS*ACC-1:0] f_marked_vector;
  reg [COLUMNS*ACC-1:0] f_vector;  // the one that is held, as it came
  reg [6:0] f_past = 0;            // its beats so far
  wire f_ends = f_beat & param__msg.last;
  always @(posedge clk) begin
    if (reset | f_ends) f_past <= 0;
    else if (f_beat & f_past != 127) f_past <= f_past + 1;
    if (moves_up) f_vector <= next_vector;
  end
  formal_queue #(.W(COLUMNS*ACC), .LATENCY(15)) f_vectors (
    .clk, .reset,
    .in(pooled__val & pooled__rdy), .in_msg(pooled__msg.acc),
    .out(f_ends), .out_msg(f_vector), .may(1'b0),
    .held(4'(next_val) + 4'(held_val)),
    .tracks(f_tracks_vector), .ahead(f_ahead_vector), .waited(f_waited_vector),
    .marked(f_marked_vector)
  );
  always @(*)
    if (~reset) begin
      assert (held_val | f_past == 0);
      for (f_i = 0; f_i < COLUMNS / LANES; f_i = f_i + 1)
        if (held_val & f_past == f_i) assert (held == f_vector >> (f_i * LANES * ACC));
      if (f_past >= COLUMNS / LANES) assert (held == 0);
      if (f_tracks_vector)
        assert (f_marked_vector == (held_val & f_ahead_vector == 0 ? f_vector : next_vector));
      // With nothing in the way a beat is taken.
      assert (param__rdy | ~held_val | (out__val & ~out__rdy));
    end
