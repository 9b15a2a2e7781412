// Each word is a header, or a word of a packet, or dropped after an error; that of a packet is
// written in the next cycle, once, and within its memory.
  reg f_took = 0;
  reg [63:0] f_word;
  reg [3:0] f_kind;
  always @(posedge clk) begin
    f_took <= take_word & ~reset;
    f_word <= prog__msg;
    f_kind <= kind;
  end
  wire [3:0] f_wens = {input_wen, param_wen, weight_wen, layer_wen};
  always @(*)
    if (f_began & ~reset) begin
      assert ((prog__val & prog__rdy) == (take_header | take_word | (failed & prog__val)));
      assert (2'(take_header) + 2'(take_word) + 2'(failed) <= 1);
      assert ((f_wens & (f_wens - 4'd1)) == 0);
      assert ((f_wens != 0) == f_took);
      if (f_took) begin
        assert (data == f_word);
        assert (layer_wen == (f_kind == 1) & weight_wen == (f_kind == 2));
        assert (param_wen == (f_kind == 3) & input_wen == (f_kind == 4));
      end
      if (layer_wen) assert (address < MAX_LAYERS & beat < LAYER_WORDS);
      if (weight_wen) assert (address < WEIGHT_DEPTH & beat < WEIGHT_BEATS);
      if (param_wen) assert (address < PARAM_DEPTH & beat < LANES);
      if (input_wen) assert (beat < 4);
      if (running) assert (~in_packet & f_wens == 0);
      if (error != 0) assert (failed);
    end
// What makes it so
  wire [17:0] f_past = 18'(next_address) + 18'(words_left);
  always @(*)
    if (f_began & ~reset) begin
      assert (~(adds & decides));
      if (in_packet) begin
        // Without tables theirs is refused, a cycle after it was looked at.
        assert (kind >= 1 & kind <= 4 | kind == 6 & (adds | decides));
        assert (next_beat <= last_beat);
        assert (last_beat == (kind == 1 ? LAYER_WORDS - 1 : kind == 2 ? WEIGHT_BEATS - 1
                              : kind == 3 ? LANES - 1 : kind == 6 ? 0 : 3));
        assert (limit == (kind == 2 ? WEIGHT_DEPTH : kind == 3 ? PARAM_DEPTH
                          : kind == 6 ? 0 : MAX_LAYERS));
        if (kind == 1 | kind == 4) assert (words_left == 1);
        if (~adds & ~decides & ~failed) begin
          assert (words_left != 0);
          if (kind != 4) assert (f_past <= limit);
        end
        if (decides & ~too_far & ~too_many) assert (past == f_past);
        if (adds | decides) assert (next_beat == 0);
      end
      if (decides & kind != 5) assert (past == f_past);
      if (adds | decides) assert (~running | failed);
      if (failed & ~adds & ~decides) assert (1);
    end
