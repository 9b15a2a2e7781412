// As many are held as lie between the two ends, and no more than there are places.
  always @(*)
    if (f_began & ~reset) begin
      assert (count <= 32);
      assert (tail == 5'(head + count));
    end
