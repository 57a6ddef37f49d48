"""One tiny picture of each kind that can be read: red and green over blue and white quarters. A leaf; data only.

For `watcherd doctor`, which has them decoded for real; made with the encoders of the tests (`tests/imaging`), deflated
and in base 85, because a wheel is no place for loose pictures.
"""

import zlib
from base64 import b85decode

from watcherd.imaging.sniff import Kind

_PACKED = {
    Kind.AVIF: (
        "c-muNU{FXasVqn=%S>Yc0uY^>nP!-qnV9D5Xy^nKdYzkElE?r7iWw<6MNl?FL1uCZ0~+8f$SlbPvlxL`E;A=T8N_h`@fjhajKV;A3J_~#X6B"
        "{A)k*<5sZ3B_Vwr)VbAC=f*siS1f}#Q-?VVYWoDZZ$GK&jRq4p^Nu>=qc6l7Lpf&`d3I5>b5Phy#&b0Y%}NJuz2Kc^@!Ii~_>GA{#L15ijjv"
        "mh7dC!oVv7@3+`fXq3$DTyUQ3|yQNg7#${92q7GMlFoO$J^Ud8QUc4fbO~w@jG{&*ZcZ&De?1j)6U<S+rgY8Rqtgh{UCZ*b@8`LlXv@-m3%L"
        "+S>Y&gFZ79+NJ3!OsXWD~b$tmd)w>OUOrG&az~tbE8n%jCw|1&lvMismUFP=Rqf^3NTvmxXubg1GFYjDr?{;w=u4$+AAAL)k@l!0QPWkHf3;"
        "=^)aAy"
    ),
    Kind.BMP: "c-nLFHREIe12Z7j0Ad9omH=W#FbM=e`6GM~3<D=LL`XvaNd%+jkD5Pf{;2u5fSkxPl90w0Ig-$*`J?8Knm=kjE(8FK?~$h",
    Kind.GIF: (
        "c-nLKbh9u|RA7)`Xk=jc|Np<-77Y=N6VF8CbQpjDB<{db!@$lV<FVmE0|SS!R*b}f1&14Xl+{EWHZD5a&BTy#=fp<khIW2cuOl9t79F1~?LE"
        "z<Q)r3vM8R08mXiT#j<dK!C#6&dsk_aStBqs1by3Z64p*;}OIN^3hh@HVopLoqS6yxnXpK@i6}Z}Soz&hS7U?jZNQNZiNxs!)3Jlf&H-tEc"
    ),
    Kind.HEIC: (
        "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>Ufw3kxwIq=N0u(b+a*CjAhJwuG5(YG&l$nzcHpIn&fe{FSfN=qY2C}MvgmPwPUK)f8#G*h>Dif"
        "5KQI>27V)7MamgK^f{K+gRDge@VG7FOPfpjTQnKL6ZNN56Bk=zG{KYxGxU|`^9P5|nVaA4$N{Qn=MfElEM8HD6^F*zgxB{iKG8PQ}GC^WK8d"
        "$n%Xvj>U`4m2<@@HBvgTatjP*<2V879Z>c+98~rpHq~VoKpc5<z-+4Dq#@GEG|fedfNetHIj1@K@L-Zx?KW9|NsC00gz?_(l<af5DOG!R%C)"
        "SGIMZnfYfCc<if%j7;LPKOw6n;KxR{JN+K|f8Ot;n*Ry<*yZYL|DOh9w(f|K{eJ+a=5AnXFnDg(6*o$dp=^0CU=D*nT=5~I;_v_N;8%2+8U%"
        "*#TX0vab{9j}F@4Z~YA8y?G6`#IWPT~6Ne${CqPp3&dn#4Kb;^~j+{ONxhymvE}*!=IkVESD$Ib!Ro*L?v3za@W^t44hl3ARvUp3Zi|bfL>b"
        "-_H?ItM7Pzy`?$H|H8fn*|L@M<s-Qh5B^$}mOo+tC!0BwlA8R!AHBXx`n}s$wG<v1C6=1vvpml4+;;m0F|x<z-!S~c%YLuWq0Pzrqfbyo3&a"
        "1XKXy%xo~wL#-LpvEXYX%ve7-MJ#Me`m5K%Gptggn2i$C~U{-*ES&wlzDm(|kKKlyt<mCrc;efys3+v#=(>z?dP;QVgEq|2hmsJH*8-gIWc("
        "{BG|S1c6!#K5@e<{r6gEG}=nc;;IjteMZ(z_8|6)4tAG*Dh!)?b^7oXhl@q;bU*)0;^+B{XAK6{br`TM(Tp_`P*)vogVn!Yc|upsYU=(91Wc"
    ),
    Kind.ICO: (
        "c-muNU<5(|0R|wDVDMmOU=RbcG=LZ+qyWT>Kyfet${pc@U>G=|A%cdEs|ubmQ~CYz{eNs=q^UotA%uobsPdmRQ~vwuBUbeX)aB67eii8>raB"
        "+rJ^T9S%hx|&(U6+x9dsmoPhH`n;TjX8o$5y0HPDc($P08N^h!?tmg)*kwXITWn`O|DoX9hDB=kaF{-*j$ZH;X*8e8Ph&`49yKmY&$#gd08"
    ),
    Kind.JP2: (
        "c-s5#|38pHp8*6EfLMY70Z{qO?2L>M^goD!2PnYEz{0}9!1zCgLBPSm!y^EW{--dgGB7$9r6!i7rYIy;D)<+q=6MCUx+|2W78Pga=P4NJnd+"
        "JRpTNKcGMMoc(2&XZ8w^+uDIeg_zu%z2>A^E=8&H5PU?%&t{pSxz)iF%??Qno)n}V$Wa~9*3`x&h3kKf|vU%|!vgoWdvl5`VK2!s8>&n^91_"
        "<$ljjIG%m3-uZ5&mT~;yKtg*p@PVTYm0+|pMBKliIv_Rw#OsvUF!8#p~I?cxVz2b{g2-gW<RIK{Den9@5yrEq^y_wCA8P<P)`b)Z!dJ{*1Q+"
        ">2S2y>Z_#7?&>?b1zw6|$ez}RO{rfJhFj%o<zR-c!*5?m6)iD+RU|~?6x$m^c%fgv#{ej=VcqF`6o?0t!$~0wdO`nLt>HZU|=Gd-RUOZ{}+h"
        "Zcx$8SmVuP|djC!v_TKlk=ioid)bb-eZ(Oa~PG;v#tdu{yEWD=)5#ehBnccmEbMpyN~?+&kv}wY2F>K|Q;KSN0n-LxI}B)6(|J3*+8A-hcd-"
        "tUaSf?Sclgxj)!{TO4AMe&3z5e|ys;uHPJTj9Lp-pDdIRSQ=96*)-{jCD?K+<|iDcpX{|+x99ks+0PWt-CW!l^*4cA#KPgQ&~yE!N%w&M?&{"
        "y-#r%Y=S#3*#q@nwo74MVo3obeEXR}{N#v|>z6*G9(+BZ!O{C^Vw0lMRq"
    ),
    Kind.JPEG: (
        "c-s4a<NpH&0WUXCHwH#V1_nkTWcYuZ!I^=Bjg6g+m4ls~os*M;i${c)hnt&6Qb?FzL{>^(PF6}rMnOeST|r4lSw=>~TvNxu(8R<<Uft5x!pK"
        "I?*u)5A2qPyaCl5D|1TU|Ik)n*E5y{~H0R}-11_=fQW=16jCP7AKLB{__fP6*<W}rKf04o~@J5WYO04U6kA|)!GoVsYq!$&|_F-As4RBi06O"
        "h9o(L7?B+S&=0cGBUA>1qEMZW)Trx^#2wE570g)L1sY)dxn)AKjzBpaC!0cSn7}7t>sEAC%Jb&eIssoQ8o8@_)YD6t9=)KM15J!=(oMpYqMG"
        "f!-a6O2<D)L|8D{S#PLj!"
    ),
    Kind.JXL: (
        "c-jF{0j>W33dIHh6^H;J1#cn%0DuaWQN|5k&h>oxp~GU@#&w3a+P1KSvDsc2B+Nju+z@2vMPu#EWUwfMuU~)oqW+39P!xma8+hz6=A@2QXug"
        "Yw;MYpsGR_n_OKP>vk}ivelK`WY*9MguY3%rAscGdRmzvfQF&Qxv2LMz^fqY0bsVvFJB+0vrmlyLgFZWFq0BReb&s{0?mR`-9dt|M0Hd@?_!"
        "dOB-#6{#4P!FW}H<(iR)w5RX4$!=<Lf>i^CqmxTMc@@tPkV5NFSvVve@`q<;$ae%zlVW<gzp~XPgn#OmeAHXW<0oqv>6j+<bC&0(hmp{ppek"
        "9gy0bDfv->*DVDZkBvffD7Y58Y$Ll~;R`{8M_<{mS%2qo2JOrW6Gu8{=__%AWdb;}C^nbf03?K}ayVBm>V4s^Bwq^v(0zDh~+LV|>{u)Ia22"
        "IzZg8"
    ),
    Kind.PCX: "c-rG)W#nK00(k~;h7=&g1^(jz49p4)j0_445)9;l3(qddT@bmj1xRWP3bx3F|3LEpg%dzL2-pDe{MSD",
    Kind.PDF: (
        "c-oy*X-phd9DlR37Y`D<Ev?m<_@Lb$R+)1T8v>SHmeOi~1>Lqp$?Wd13|V$ycDQPE(`t*wPra*O4B{PQtXf-}CW^FP-|AWF7kg<nMk&33RL1"
        "v)g*Bjw`ky27{@45c=H>Ty*9JrPaU~*jqnIX3x*SK*UR0|jlWI4@F%;L7E?I*DVv!ncEiHviLvOo`n1G~9Ni_kPS}7r?k%;4ASXL&d;y4Y8b"
        "JNW%$OP2Rl#V#aY*gZD)QC7zh91oodgc~xs)@GBF&#4Xol)KNRJY+?kclX9y#)z8WY)_{qD4o%2$_(Q)MX7Z!9YV$j;V2+SE1<XT3HLIZS87"
        "G#=H9ojHIg7w@WeHE+}^?F*#gS0htHoR08+(`8*g<TF3vR4H{>RAHaeQq3RHzC;%vY0poiR02YcEd0U8CY4WyNt+dr{v)j$bk>|vZ!)|xxJM"
        "$nh{8f+-3&?^rnJ%^1XxauHb_e{=W_$!(POuapnkohs7e%`$<0QBn<FuLZFxY9MEVR{TcVHO#IN`_w44<YkXd6b1qfg*Cu)1sui@0_6MRk&+"
        "xTBEYwtK+2tm5#{;_&Iw<w8{3o(GrQzVwbe-78kET78e`@%sGtuMGq%LsjdmH`F&g{77We<}I<f+?;4pTGM)GS9eeE)~BA{v9s@)UHyCZ?%R"
        "Lh;GyT9e{t}omtT4Hwb$Qx=iT>?ynpoA2gg4iK6&bsPe1$oi!Z<W`kQaRJ2P_j-1!R^Fa7w_<)44KGIsUa^&2<GCngCm3eePy{VgvS=4Byg;"
        "2^vxOE*byS#3p}ec`$~ht#pCnBV3stk^wpcqng~5FT9|)lS1D%f)l<D}<WK?B5aF{=b;b63g*A3kqloA0F)j<zS+$|EdATAA8~Yn#{$U29T<"
        "5F*TF>KOB490B^rpe!lTUivb3jrXs_cu?v3`8DQ7o=$fgW2AEL$4RC4Y$iB$szFYo{Q*RwLz`adVzYR{^<u*X1(EtY+19V4l_sM5ZHC?;S0D"
        "FfGu%~?J_wgMkx()C^W+Hsh04p-3dR=Aac;eT-8=ET&BNNR}9?KXb5bHCmh^$h%oKnMbTJ6+gcnpwLt)|B6WgV-VAp>MuuK_Ib87-Sx3h^RO"
        "c5INFc}R{cQia-sD_MMTT#1KA{t~Z9Y6EIY$LdWZ-YogcSRo@wBf_3DgZLc4tguBfr|XXC{wy|gH?q&{BG!ho0D~&3gY(IIbG-v(Y$|Fhh=("
        "Uy6<o`+yqDv6o)tw=5VowwywvzV24~UsXmT@Tkq@%7hP)n+;6=?S>*H8I=43`vvp!xF=K5GxWas<*zIi@Q6zBC51W(SVYm$=0)89N~Rn?I&{"
        "qyUUtultnRHvF%<efRgv@U77$%7L)A9TAbYeIhlKb`jx"
    ),
    Kind.PNG: (
        "c-rd>@N?(olHy`uVBq!ia0vp^3P3Eu!2~2l3^S5}l#Qp0V@SoE<Qg@l;|^RKA`ZAts#2R2GMUj$S7K|zm8ORYjEg&taZWPXvoFtY(yxW`E{n"
        "x_q71SaWpx-B?j^FS{rh?GDbO4SPgg&ebxsLQ0N1S}-2"
    ),
    Kind.PPM: "c-jjv<1#i<Ff!pXGBxFTCL%`?lG~y|5*jss)cjHNN6p8DL^Mv2g#MEVM$I2Jf7JX@^Kk(HR|Jr#",
    Kind.PSD: (
        "c-pgY3J7LkWPku>AeI1P1qKc<8vz&@90nPDMgYnYfTQ|H^$%tJA_U-n0&rCSsQ%%se+vOPs()1fP}Z+O020bSqxwhn4`uy?+DC-UAJspqe<<"
        "reK>!lUKco6b^$%hF0IrCk;s"
    ),
    Kind.RAW: (
        "c-r&y)MDUZU|^77_{YG)z{mgvj1aa0hzVs&05KCIGng#^#LQ4O2(v-i$_)$*{ESQtoIti7P(T34W(Tq@fNVjiISxQV2uZIf5?c((E^#QEfsK"
        "K|2xyK7NH5T^-X>-SCXiczu&;>`=xVSdnS_o(*g$Oz!Z0?_0Fh%%VE2Xq^-3LMhWk<W7{vVl{}~t*k8y$BoB~v%ag3FL8OUA(WJf{Oi$e93C"
        "zd2<q!y(xFchce73UWLU2*0UUhL2GvkV^wslbPSmPNAQ!=v_(+CPx?e`3Io{}TW}A56oC3F#lTf7JegwBN|Uz{1MF)XLaE!O+yo)Xd7j5ME0"
        "tKr4x9b-<cXoq^%Y;s5_ZblV#Ut$qtayLm$7=QBcRT_y<4@dG07r3vA~YDshq02nA*N&"
    ),
    Kind.SVG: (
        "c-nQ&K?=e!5QX8Z4CB6;#1euuUAyrRYLiSLYO$daPj5sEinx1=kDu2~bAa0^ohOT&^SBYBl+u)SbGZhgh)7g{P~wo;qSOfNV&Gi2!oC~#nZd`DEU"
        "uiEt#k;3#T@~$ne~?LD87|+hgO-FGH+#mRW(PmwDg~r_kIcKkI?gS{{X<_KJN"
    ),
    Kind.TGA: "c-muNU}As)1qKNqJfR^%68cXf7&U*?{895q&Bq1gM4pj^G`7f*ghtIDHGkCnQS)&jSZgRGDAYB~GuYGLPdCEN)5leh0RT=Glez",
    Kind.TIFF: (
        "c-r&y)MDUZU|`^4U|?inU<9%hfS3`=mH=WVMrH<PAl(MU%s@6s9E91RY$hNUgsSfWVo|6#NRJqjIpR<@11AH643aq@zyXHOMC3?9a$7V=LZj"
        "x7nm=m(sQI{%h{g$$(0>xasQIJjkD5PfJ}v+NJv)(!"
    ),
    Kind.VIDEO: (
        "c-muNV30{GsVvAW&d+6FU}6B#Kx~v-U}DI?z`&7Kl$y%Gz?hJml2`(yH!}#Z1F3BS2NrX^-7tZ7$L;*b@@7X4L@Vd+uV-Lb(32S3DUrv|{Hw"
        "#pgl)mc_|MJH9n^RlJ{Tl5AFl7?7iIWiSN?ZR?)K&b{}%D{GOn-*|MTGI1<nU(3X-4khjA_VV1KXqu!9!A=>HvdB@7SZn-BcA<L71gVH5r@;"
        "pYX`joa?=Gyi>IW5NWq=r_<Jel!L985j;sZ2Gv3%_Ceo_fJCh?1X5xiQDe)2YDdyf%|=+d*=a_%meX*4xsXb(d0wW<U`Tq!_efz(c~l0<Rek"
        "!nR9dV^UHwYos(OZk-~rim|uV~BLfH_03)g@biM-vUcdxI(@TmHvw`fGl5DV@%$TNu?8a{oR(nB&0hp_jno?2>q-9cbic1hWpyq=0GV$l8WF"
        "`U`3b`rhe%Aow&?8`uZbnK@5lp5mGbI&SWf+j3?~$07l9LKj!?-IqGcOIu5Gl(A8;a~ql@y4aOiEE|8j?47N{ez7AZ*5};*z8sAp2HvNpT92"
        "np41xQHCQZKpr<>@Bq>tI8~qniU0qBWI}3jN-;RV8yXt?f!bJrw4;I`NXV8GNN^os1&ZhcP22!--PTTFh~bP13`cr97($s?*hHLx+)X}-Wyx"
        "kndPWv{h6YA#Ks}61pioFEDS`w))HIOI#U<dVfw_~5fq@0Y76JMgSsa9AfMUsLVq8$#1}ImB<Rg&y2_P0A0t4+z&POs=2Z)nOQ%XR|Au2Z&O"
        "oM<Ta?}HpOHpD$K@M^->SjXHm+H!re2{^%z~U+q76HI8Ndtz7p%Exd006!J0R"
    ),
    Kind.WEBP: (
        "c-jG+0Av4BNk&GL00012MM6+kP&gon0002+1pu7^Dj)zD06r}chC-pC4f+5K0b*GI9zgs9@B@Skuoi$nfPNrd|J{IpK<xhp9YSs1q38er{`k"
        "3%|KRigqEmnWK#KqWpP5%d`sVF!>1n_J?!x`pUqUhwyVBmX=Jqt1BLDx;<p!PJog(`qjNqw7V?S`^IIWrzd)=k}48uem0000xXGp6"
    ),
}


def sample_of(kind: Kind) -> bytes:
    """A small file of that kind."""
    return zlib.decompress(b85decode(_PACKED[kind]))
