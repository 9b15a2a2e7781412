// The sum of two bytes' addresses, each 9 q + r: the bank's carry comes at nine.
  wire [4:0] f_bank = a_r + (b_r_up - 4'd7);
  always @(*)
    if (a_r <= 8 & b_r_up >= 7) begin
      assert (r == (f_bank > 8 ? f_bank - 9 : f_bank));
      assert (q == Q'(a_q + b_q + (f_bank > 8)));
    end
