// Only what a right frame asks for is done, and words go out only of such frames, to one stream.
  localparam HEADER = 1, PAYLOAD = 2, CHECK = 3, ACT = 5, ACCESS = 6, REPLY = 7;
  localparam PREPARE = 8, ANSWER = 9, RESULT = 5;
  reg f_right = 0, f_writes = 0, f_occupied = 0;
  always @(posedge clk) begin
    f_right <= takes & ~silent & state == CHECK & position == 3 & crc_next == 32'hDEBB20E3;
    f_writes <= accepted & writes;
    f_occupied <= occupied;
  end
  always @(*)
    if (f_began & ~reset) begin
      assert (state <= 10);
      if (state == ACT) assert (f_right);
      if (occupied & ~f_occupied) assert (f_writes);
      assert (~(prog__val & image__val));
      assert (occupied | ~fetched);
      assert (~(buffer__wen & occupied));
      // Words are stored while none is outstanding, or it is known that they are not.
      if (state == HEADER) assert (num_done == 0);
      if (state == PAYLOAD) assert (num_done < count & count <= 4);
      if (state == CHECK | state == ACT) assert (num_done == count & count <= 4);
      if ((state == PAYLOAD | state == CHECK | state == ACT) & num_done != 0 & occupied)
        assert (missed);
      if (state == ACCESS | state == REPLY) assert (kind != RESULT);
      // The queue of results: an answer has promised no more of them than there are.
      if (kind == RESULT & state == PREPARE) assert (count <= waiting);
      if (kind == RESULT & state == ANSWER)
        assert (num_done <= count & 3'(count - num_done) <= waiting);
      assert (waiting <= 4 & tail == 2'(head + waiting));
    end
