// Each word passes the queue (its own proof); then its bytes are written.
  wire f_taken = queue__send__val & queue__send__rdy;
  integer f_i;
  always @(*)
    if (f_began & ~reset) begin
      assert ((queue__recv__val & queue__recv__rdy) == (image__val & image__rdy & ~failed));
      assert (queue__recv__msg == image__msg);
      assert (take == f_taken);
      assert (write_mask == 0 | f_taken);
      if (f_taken) begin
        assert (write_data[63:0] == queue__send__msg & ~write_mask[8]);
        for (f_i = 0; f_i < 8; f_i = f_i + 1)
          assert (write_mask[f_i] == (~nest__last[0] | f_i < last_bytes));
      end
      // No word of an image is put away while the port is taken, or the last image is needed.
      assert (~f_taken | (~hold & ~full));
      if (~begun) assert (failed | ~image__rdy);
    end
