// The sum of two bytes' addresses, each 9 row + bank: the bank's carry comes at nine.
  wire [4:0] f_bank = a_bank + (b_bank_up - 4'd7);
  always @(*)
    if (a_bank <= 8 & b_bank_up >= 7) begin
      assert (bank == (f_bank > 8 ? f_bank - 9 : f_bank));
      assert (row == Q'(a_row + b_row + (f_bank > 8)));
    end
