// As the write sequencer uses it: its own proof has the first, the compiler sees to the second.
  always @(*) begin
    assume (~en | rdy);
    assume (num_valid >= 1 & num_valid <= LANES);
  end

// Any one beat, which f_marks chooses: it comes out in the word and at the place that its number in
// the image says. f_beats counts the beats of the word that is being filled.
  localparam PLACES = 8 / LANES;
  (* anyseq *) wire f_marks;
  reg f_in_word = 0, f_in_result = 0;
  reg [2:0] f_place;
  reg [3:0] f_beats = 0;
  reg [8*LANES-1:0] f_marked;
  wire f_full = last | f_beats == PLACES - 1;
  wire f_sends = result__val & result__rdy;
  integer f_i;
  always @(posedge clk)
    if (reset) begin
      f_in_word <= 0;
      f_in_result <= 0;
      f_beats <= 0;
    end else begin
      if (en) f_beats <= f_full ? 0 : f_beats + 1;
      if (en & f_marks & ~f_in_word & ~f_in_result) begin
        f_place <= f_beats;
        for (f_i = 0; f_i < LANES; f_i = f_i + 1)
          f_marked[8*f_i +: 8] <= num_valid > f_i ? y[8*f_i +: 8] : 0;
        f_in_word <= ~f_full;
        f_in_result <= f_full;
      end else if (f_in_word & en & f_full) begin
        f_in_word <= 0;
        f_in_result <= 1;
      end else if (f_sends) f_in_result <= 0;
    end
  // Words that are owed: one for each beat that fills one, and one more for each image.
  reg [1:0] f_owed = 0;
  reg f_class_owed = 0;
  always @(posedge clk) begin
    f_owed <= reset ? 0 : f_owed - f_sends + (en & f_full) + (en & last);
    if (reset) f_class_owed <= 0;
    else if (en & last) f_class_owed <= 1;
    else if (f_sends & at_class) f_class_owed <= 0;
  end
  always @(*)
    if (f_began & ~reset) begin
      assert (f_beats == place & f_beats < PLACES);
      assert (f_owed == 2'(result__val) + 2'(class_next));
      assert (f_class_owed == (class_next | (result__val & at_class)));
      assert (~class_next | (result__val & ~at_class));
      if (f_in_word) begin
        assert (f_place < f_beats);
        assert (f_marked == word[f_place*8*LANES +: 8*LANES]);
      end
      if (f_in_result) begin
        assert (result__val & ~at_class);
        assert (f_marked == result__msg[f_place*8*LANES +: 8*LANES]);
      end
      for (f_i = 0; f_i < 64; f_i = f_i + 1)
        if (f_i >= f_beats * 8 * LANES) assert (~word[f_i]);
      // With nothing in the way a beat may come.
      assert (rdy | result__val);
    end

// The winner: no output of the image is larger, none before it is as large, and it is one of them.
// Any one output may be the marked one, and any number and value the ones that are looked for.
  (* anyconst *) reg [7:0] f_key;
  (* anyconst *) reg [15:0] f_number;
  (* anyseq *) wire [2:0] f_lane;
  (* anyseq *) wire f_marks_output;
  reg [15:0] f_count = 0;  // outputs of the image so far
  reg f_open = 0;          // some output of the image has come
  reg f_seen = 0, f_has_marked = 0;
  reg [7:0] f_marked_key;
  reg [15:0] f_marked_number;
  reg f_found;
  function [7:0] f_order(input [7:0] value);
    f_order = value + (is_signed ? 8'd128 : 8'd0);
  endfunction
  always @(*) begin
    f_found = 0;
    for (f_i = 0; f_i < LANES; f_i = f_i + 1)
      if (num_valid > f_i & f_number == f_count + f_i & f_key == f_order(y[8*f_i +: 8]))
        f_found = 1;
    // The hardware numbers outputs with 16 bits.
    assume (f_count <= 65000);
  end
  always @(posedge clk)
    if (reset) begin
      f_count <= 0;
      f_open <= 0;
    end else if (en) begin
      f_count <= last ? 0 : f_count + num_valid;
      f_open <= ~last;
      f_seen <= (f_seen & f_open) | f_found;
      f_has_marked <= (f_has_marked & f_open) | (f_marks_output & f_lane < num_valid);
      if (f_marks_output & f_lane < num_valid) begin
        f_marked_key <= f_order(y[8*f_lane +: 8]);
        f_marked_number <= f_count + f_lane;
      end
    end
  // What the packer says of the image so far; once a class waits, that is in its word.
  wire [15:0] f_winner = at_class & result__val ? result__msg[15:0] : next_winner;
  wire f_is_known = f_open | f_class_owed;
  always @(*)
    if (f_began & ~reset) begin
      assert (f_open == begun & f_count == count);
      if (f_open) assert (next_winner < f_count);
      if (f_open & f_has_marked) assert (f_marked_number < f_count);
      if (f_is_known) begin
        if (f_has_marked) begin
          assert (next_best >= f_marked_key);
          if (next_best == f_marked_key) assert (f_winner <= f_marked_number);
        end
        if (next_best == f_key & f_winner == f_number) assert (f_seen);
        if (at_class & result__val) assert (result__msg == next_winner);
      end
    end
