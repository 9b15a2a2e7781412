// Each beat of outputs passes the queue (its own proof); then it is dropped, or written, or packed,
// as many of its lanes as are counted.
  wire f_taken = queue__send__val & queue__send__rdy;
  reg [3:0] f_written;
  integer f_i;
  always @(*) begin
    f_written = 0;
    for (f_i = 0; f_i < 9; f_i = f_i + 1) f_written = f_written + 4'(write_mask[f_i]);
    if (f_began & ~reset) begin
      assert (queue__recv__val == out__val & queue__recv__rdy == out__rdy);
      assert (queue__recv__msg == out__msg);
      assert (take == f_taken);
      if (f_taken & ~dropped & num_valid != 0) assert ((write_mask != 0) == ~to_result);
      assert (packer__en == (f_taken & to_result & ~dropped));
      if (packer__en) begin
        assert (packer__rdy);
        assert (packer__y == queue__send__msg.y & packer__num_valid == num_taken);
      end
      if (write_mask != 0) begin
        assert (writing & ~dropped);
        assert (f_taken);
        assert (write_data[8*LANES-1:0] == queue__send__msg.y);
        assert (num_valid > LANES ? f_written == LANES : f_written == num_taken);
      end
      assert ((num_taken == 0) == (~f_taken | dropped | num_valid == 0));
    end
  end
