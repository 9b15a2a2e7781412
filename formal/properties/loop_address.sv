// The bank is 0 to 8, always, if it is so where the loops start and in their strides. A position
// leaves only after it was issued, and is issued only after the loops have started.
  reg f_started = 0, f_issued = 0;
  always @(posedge clk) begin
    f_started <= f_started | start;
    f_issued <= f_issued | issue;
  end
  integer f_i;
  always @(*) begin
    assume (start_bank <= 8);
    for (f_i = 0; f_i < 8; f_i = f_i + 1) assume (strides_bank[4*f_i +: 4] <= 8);
    assume (f_started | ~issue);
    assume (f_issued | ~leave);
    if (f_issued) begin
      assert (f_started);
      assert (sum__a_bank <= 8 & sum__b_bank_up >= 7 & sum__bank <= 8);
    end
    if (f_started) begin
      assert (bank <= 8);
      for (f_i = 0; f_i < 8; f_i = f_i + 1) assert (at_bank[f_i] <= 8);
    end
  end
