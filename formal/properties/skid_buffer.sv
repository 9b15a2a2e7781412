// Two places, and never a third message.
  wire f_tracks;
  wire [3:0] f_ahead, f_waited;
  wire [$bits(recv__msg)-1:0] f_marked;
  formal_queue #(.W($bits(recv__msg)), .LATENCY(2)) f_queue (
    .clk, .reset(reset),
    .in(recv__val & recv__rdy),
    .in_msg(recv__msg),
    .out(send__val & send__rdy),
    .out_msg(send__msg),
    .may(send__rdy),
    .held(4'(head_val) + 4'(tail_val)),
    .tracks(f_tracks), .ahead(f_ahead), .waited(f_waited), .marked(f_marked)
  );
  always @(*)
    if (~reset) begin
      assert (head_val | ~tail_val);
      if (f_tracks) begin
        assert (f_marked == (f_ahead == 0 ? head : tail));
        assert (f_waited + f_ahead <= 2);
      end
    end
